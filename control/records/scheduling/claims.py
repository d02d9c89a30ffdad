"""Claiming: a worker takes the best queued run that its free slots and its data set roots allow.

Compare-and-set: on PostgreSQL the candidate is read FOR UPDATE SKIP LOCKED, on SQLite the unit of work holds the write
lock from its beginning, and on both the row's version must be the one that was read.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain
from typing import Any

from sqlalchemy import ColumnElement, Select, or_, select, update
from sqlalchemy.orm import Session

from control.db.models import Attempt, DatasetVersion, Run, Slot, Worker
from control.db.session import database_time
from control.records.access import quotas
from control.records.runs.kinds import Queue
from control.records.runs.moves import announce
from control.records.scheduling import sweep_limit
from control.records.scheduling.eligibility import MOST_URGENT, ready
from control.records.scheduling.gangs import found, gather
from control.records.scheduling.reservations import leaves_room
from control.records.scheduling.slots import free_slots
from control.records.scheduling.turns import kept_from, leaves_turn, next_turn
from control.records.scheduling.workers import Purpose, WorkerIdentity
from control.records.store.places import is_seen

PURPOSES: dict[str, Purpose] = {"gpu": "train", "cpu": "light"}
"""The slots each queue's runs need."""
_PATIENCE = 8
"""Runs that could not be placed after which only those of one host are looked at, and after as many again none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """A run that is now this worker's, until its lease ends."""

    run_id: str
    kind: str
    spec: dict[str, Any]
    fence: int
    """To be carried by every write about this attempt."""
    attempt: int
    slots: tuple[str, ...]
    """UUIDs."""
    gpus: tuple[str, ...]
    """UUIDs of those slots that are GPUs."""
    grace_seconds: float | None
    """Of this run; None: the service's setting."""
    node: int = 0
    """Which of the run's hosts this is; 0 leads."""


def claim(session: Session, worker: WorkerIdentity, queue: Queue, lease_seconds: float = 60.0) -> Claim | None:
    """Take the most urgent, then oldest eligible run of `queue`; None when there is none.

    Eligible: `eligibility.ready`, what is read in place under a root the worker reads, and enough free slots on the
    host, or on as many hosts as it has nodes. One that cannot be placed holds up none behind it, except where others
    were asked to make room for it (`reservations`), or where it has waited for long (`turns`).
    """
    registered = session.get(Worker, worker.id)
    if registered is None or registered.state != "active":
        return None
    now = database_time(session)
    taken = _take_best(session, registered, queue, now, timedelta(seconds=lease_seconds))
    session.execute(update(Worker).where(Worker.id == worker.id).values(looked_at=now))
    return taken


def next_for(session: Session, worker: WorkerIdentity, queue: Queue) -> str | None:
    """The run that a claim would take now; takes nothing and holds nothing."""
    registered = session.get(Worker, worker.id)
    if registered is None or registered.state != "active":
        return None
    best = _best(session, registered, queue, database_time(session), take=False)
    return None if best is None else best[0].id


def _take_best(session: Session, worker: Worker, queue: Queue, now: datetime, lease: timedelta) -> Claim | None:
    best = _best(session, worker, queue, now, take=True)
    return None if best is None else _take(session, *best, worker, now, lease)


def _best(
    session: Session, worker: Worker, queue: Queue, now: datetime, *, take: bool
) -> tuple[Run, list[Sequence[Slot]]] | None:
    """The best run that can be placed now, and the slots of each of its nodes; `take` locks them all."""
    purpose = PURPOSES[queue]
    free, turn = free_slots(session, worker.host, purpose), next_turn(session, queue, purpose, now)
    candidates = _candidates(session, worker, queue, now, free).where(*leaves_turn(turn, worker.host, free))
    if take:
        candidates = candidates.with_for_update(of=Run, skip_locked=True).execution_options(populate_existing=True)
    passed_over: list[str] = []
    while (run := session.scalars(candidates.where(Run.id.not_in(passed_over))).first()) is not None:
        # Another worker may have used up the quota of its token since, or taken one of its sweep.
        allowed = not take or (quotas.confirm(session, run) and sweep_limit.confirm(session, run))
        slots = gather(session, run, worker.host, purpose, kept_from(turn, run), take=take) if allowed else None
        if slots is not None:
            return run, slots
        passed_over.append(run.id)
        if len(passed_over) >= _PATIENCE:
            candidates = candidates.where(Run.nodes == 1)
        if len(passed_over) >= 2 * _PATIENCE:
            return None
    return None


def reaches(worker: Worker) -> tuple[ColumnElement[bool], ...]:
    """Conditions on `Run`, joined to its `DatasetVersion`: what it reads in place lies under a root of the worker."""
    boxes = Run.spec["boxes"].as_string()
    return (
        or_(Run.dataset_version_id.is_(None), is_seen(worker.roots, DatasetVersion.root)),
        or_(Run.kind != "import", is_seen(worker.roots, Run.spec["path"].as_string())),
        or_(Run.kind != "extract", boxes.is_(None), is_seen(worker.roots, boxes)),
    )


def _candidates(session: Session, worker: Worker, queue: Queue, now: datetime, free: int) -> Select[Run]:
    return (
        select(Run)
        .outerjoin(DatasetVersion, DatasetVersion.id == Run.dataset_version_id)
        .where(
            Run.queue == queue,
            Run.slots_wanted <= free * Run.nodes,
            *ready(now),
            *reaches(worker),
            *leaves_room(session, worker.host, queue, now, free),
        )
        .order_by(*MOST_URGENT)
        .limit(1)
    )


def _take(
    session: Session, run: Run, nodes: list[Sequence[Slot]], worker: Worker, now: datetime, lease: timedelta
) -> Claim:
    run.fence += 1
    run.attempt += 1
    run.state, run.reason, run.not_before = "starting", None, None
    run.lease_owner, run.lease_host, run.lease_expires_at = worker.id, worker.host, now + lease
    run.reserved_host = run.reserved_until = None
    for slot in chain(*nodes):
        slot.run_id, slot.fence, slot.leased_at = run.id, run.fence, now
    if run.nodes > 1:
        found(session, run, nodes, now, lease)
    uuids = [slot.uuid for slot in nodes[0]]
    gpus = [slot.uuid for slot in nodes[0] if slot.is_gpu]
    actor = f"worker:{worker.host}"
    session.add(
        Attempt(
            run_id=run.id,
            number=run.attempt,
            fence=run.fence,
            worker_id=worker.id,
            host=worker.host,
            slots=uuids,
            gpus=sum(slot.is_gpu for slot in chain(*nodes)),
            created_at=now,
            created_by=actor,
        )
    )
    announce(session, run, actor)
    session.flush()
    return Claim(
        run_id=run.id,
        kind=run.kind,
        spec=run.spec,
        fence=run.fence,
        attempt=run.attempt,
        slots=tuple(uuids),
        gpus=tuple(gpus),
        grace_seconds=run.grace_seconds,
    )
