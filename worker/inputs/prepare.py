"""Everything a job needs, brought into its folder before it starts: the run's spec becomes `job.json`.

Data sets are read where they are. What comes from the store (file manifest, checkpoint to continue from, checkpoint or
bundle to look at) is placed in the folder, digests checked. The tables are read first and let go: fetching may take
minutes, and no transaction stays open meanwhile.
"""

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from sqlalchemy import Engine, select
from sqlalchemy.exc import NoResultFound
from sqlalchemy.orm import Session

from control.db.models import Attempt, AttemptNode, Checkpoint, Run
from control.db.session import read_only
from control.errors import ArtifactMissing, DigestMismatch, InvalidRequest
from control.reading import watched
from control.records.journal.history import NEWEST, get_attempt
from control.records.life import shares
from control.records.life.shares import Meeting
from control.records.scheduling import workers
from control.storage.base import key_of
from control.storage.buckets import fetch_object
from detco_core.contract.errors import DataError
from detco_core.contract.jobs import PretrainJob
from detco_core.contract.reader import canonical_json
from worker.inputs.draft import Draft
from worker.inputs.job import RESUME_FILE, make_job
from worker.inputs.unpacked import Place, Unpacked
from worker.launch import JOB_FILE
from worker.processes import Mark

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A job that can be started."""

    verb: str
    processes: int
    gpus: tuple[str, ...]
    """UUIDs."""
    threads: int
    """CPU threads for each process."""
    nodes: int = 1
    """Hosts that work on it."""
    resume_digest: str | None = None
    """Of the checkpoint it continues from."""
    known_as: Mapping[str, str] = field(default_factory=dict)
    """What people call the files that were brought, by the path that the job knows them by."""


def prepare(engine: Engine, place: Place, unpacked: Unpacked, mark: Mark, folder: Path) -> Prepared:
    """Fill the folder of an attempt; archives it reads stay unpacked as long as `unpacked` lives.

    Raises:
        InvalidDocument: the spec is not one this version understands.
        DataError: what the job is to work on is gone or damaged.
        StoreError, OperationalError, InterfaceError: store or database are away; try again.
    """
    try:
        with read_only(engine) as session:
            run = session.get_one(Run, mark.run)
            prepared = _prepared(session, run, mark)
            draft = Draft(run, mark.fence, folder, unpacked)
            job = make_job(session, draft)
            meeting = shares.meeting_of(session, mark.run, mark.fence) if mark.node else None
            saved = select(Checkpoint).where(Checkpoint.run_id == run.id, Checkpoint.state == "stored")
            checkpoints = session.scalars(saved.order_by(*NEWEST)).all()
    except NoResultFound as error:
        raise DataError(f"something run {mark.run} refers to was deleted: {error}") from error
    place = _watched(engine, place)
    for path, (digest, what) in draft.needed.items():
        _bring(place, path, digest, what)
    for path, digest in draft.kept.items():
        _bring_if_there(place, path, digest)
    for path, object_place in draft.objects.items():
        _fetch(path, object_place)
    for digest in draft.archives:
        unpacked.bring(digest, place)
    if isinstance(job, PretrainJob):
        job = _resumed(job, place, checkpoints) if meeting is None else _resumed_with(job, place, meeting)
        prepared = replace(prepared, resume_digest=job.resume_sha256)
    (folder / JOB_FILE).write_text(canonical_json(job), "utf-8")
    return replace(prepared, known_as=draft.known_as())


def _watched(engine: Engine, place: Place) -> Place:
    """The same, and what is found damaged is known to all from then on."""

    def bring(path: Path, digest: str) -> None:
        with watched(engine, key_of(digest)):
            place(path, digest)

    return bring


def _bring(place: Place, path: Path, digest: str, what: str) -> None:
    try:
        place(path, digest)
    except (ArtifactMissing, DigestMismatch) as error:
        raise DataError(f"{what} cannot be had from the artifact store: {error}") from error


def _bring_if_there(place: Place, path: Path, digest: str) -> None:
    """What can be made again costs time when it is lost or damaged, not the run."""
    try:
        place(path, digest)
    except (ArtifactMissing, DigestMismatch) as error:
        _log.error("%s is made again: %s", path.name, error)


def _fetch(path: Path, place: str) -> None:
    try:
        fetch_object(place, path)
    except InvalidRequest as error:
        raise DataError(str(error)) from error


def _resumed(job: PretrainJob, place: Place, checkpoints: Sequence[Checkpoint]) -> PretrainJob:
    """Continue from the run's newest checkpoint that can be had: a damaged one costs its steps, not the run."""
    path = Path(job.folder) / RESUME_FILE
    for checkpoint in checkpoints:
        try:
            place(path, checkpoint.digest)
        except (ArtifactMissing, DigestMismatch) as error:
            _log.error("%s: cannot continue from step %d: %s", job.run, checkpoint.step, error)
        else:
            return replace(job, resume=str(path), resume_sha256=checkpoint.digest, extend=False)
    return job


def _resumed_with(job: PretrainJob, place: Place, meeting: Meeting) -> PretrainJob:
    """Continue from the checkpoint that node 0 continues from, and from no other."""
    if meeting.resume_digest == job.resume_sha256:
        return job
    path = Path(job.folder) / RESUME_FILE
    _bring(place, path, str(meeting.resume_digest), "the checkpoint that node 0 continues from")
    return replace(job, resume=str(path), resume_sha256=meeting.resume_digest, extend=False)


def _prepared(session: Session, run: Run, mark: Mark) -> Prepared:
    held: Attempt | AttemptNode = get_attempt(session, mark.run, mark.fence)
    if mark.node:
        held = session.get_one(AttemptNode, mark)
    slots = workers.list_slots(session, held.host)
    given = [slot for slot in slots if slot.uuid in held.slots]
    sharing = sum(slot.purpose in {own.purpose for own in given} for slot in slots)
    return Prepared(
        verb=run.kind,
        processes=run.slots_wanted // run.nodes,
        gpus=tuple(slot.uuid for slot in given if slot.is_gpu),
        threads=max(1, len(os.sched_getaffinity(0)) // max(1, sharing)),
        nodes=run.nodes,
    )
