"""Takes a child's events into the tables: all of a batch, and what each means, in one transaction.

Unique on (run, fence, seq): the same batch twice is harmless. Files an event names are in the store before.
"""

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from control.db.models import Artifact, Checkpoint, Run, RunEvent
from control.records.journal import metrics
from control.records.journal.history import get_attempt
from control.records.life.leases import lock_held
from control.records.planning import monitors
from control.records.runs import checkpoints
from control.records.store import objects
from control.records.webhooks import notices
from control.storage.base import key_of, prefixed
from detco_core.contract.events import (
    ArtifactSaved,
    CheckpointSaved,
    Event,
    Metrics,
    Progress,
    Reported,
    Started,
    Warned,
)
from detco_core.contract.reader import plain


def ingest(session: Session, run_id: str, fence: int, events: Sequence[Event], offset: int) -> bool:
    """Store events and bring run, metrics, checkpoints and artifacts up to date with them.

    `offset` is where in `events.jsonl`, in bytes, reading is to go on after them. False: the fence is stale, nothing
    was written, and the caller must stop.

    Raises:
        BeingRemoved: a file that an event names is being deleted from the store as another's: store it again.
    """
    run = lock_held(session, run_id, fence)
    if run is None:
        return False
    new = _unseen(session, run, events)
    session.add_all(_row(run, event) for event in new)
    for event in new:
        _apply(session, run, event)
    samples = [_sample(event.body, event.time) for event in new if isinstance(event.body, Metrics)]
    metrics.record(session, run.id, samples)
    attempt = get_attempt(session, run_id, fence)
    attempt.event_offset = max(attempt.event_offset, offset)
    session.flush()
    return True


def warn(session: Session, run_id: str, fence: int, code: str, message: str) -> bool:
    """Add a `warning` of the service's own to a run's events; False: the fence is stale."""
    run = lock_held(session, run_id, fence)
    if run is None:
        return False
    payload = {"code": code, "message": message, "details": {}}
    session.add(RunEvent(run_id=run.id, fence=fence, type="warning", payload=payload, time=datetime.now(UTC)))
    return True


def _unseen(session: Session, run: Run, events: Sequence[Event]) -> list[Event]:
    seqs = [event.seq for event in events]
    stored = select(RunEvent.seq).where(RunEvent.run_id == run.id, RunEvent.fence == run.fence, RunEvent.seq.in_(seqs))
    seen = set(session.scalars(stored))
    fresh = {event.seq: event for event in events if event.seq not in seen}
    return [fresh[seq] for seq in sorted(fresh)]


def _row(run: Run, event: Event) -> RunEvent:
    return RunEvent(
        run_id=run.id,
        fence=run.fence,
        seq=event.seq,
        type=event.type,
        payload=_finite(plain(event.body)),
        time=datetime.fromtimestamp(event.time, UTC),
    )


def _apply(session: Session, run: Run, event: Event) -> None:
    match event.body:
        case Started() as started:
            run.environment = _finite(started.environment)
            metrics.rewind(session, run.id, -1 if started.resumed_from is None else started.resumed_from)
        case Progress() as progress:
            run.progress = _finite(plain(progress))
        case CheckpointSaved() as saved:
            _keep_checkpoint(session, run, saved)
        case ArtifactSaved() as saved:
            _keep_artifact(session, run, saved)
        case Reported(report=report):
            run.report = _finite(report)
        case Warned() as warned:
            notices.tell_alarm(session, run, _finite(plain(warned)))
        case _:
            pass  # Told by its row alone.


def _keep_checkpoint(session: Session, run: Run, saved: CheckpointSaved) -> None:
    objects.hold(session, key_of(saved.sha256), saved.bytes)
    same = (Checkpoint.run_id == run.id, Checkpoint.fence == run.fence, Checkpoint.step == saved.step)
    checkpoint = session.scalar(select(Checkpoint).where(*same))
    is_new = checkpoint is None
    if checkpoint is None:
        if saved.step > _furthest(session, run):
            run.losses = 0  # saved once more where it already was, it has not come on
        checkpoint = Checkpoint(run_id=run.id, fence=run.fence, step=saved.step, created_by=run.created_by)
        session.add(checkpoint)
    run.stored_bytes += saved.bytes - (checkpoint.bytes or 0)
    checkpoint.epoch, checkpoint.bytes = saved.epoch, saved.bytes
    checkpoint.digest, checkpoint.key = prefixed(saved.sha256), key_of(saved.sha256)
    checkpoints.reconsider(session, run.id)
    monitors.note_checkpoint(session, run, checkpoint)
    if is_new:
        notices.tell_checkpoint(session, run, checkpoint)


def _furthest(session: Session, run: Run) -> int:
    """The step of the run's furthest checkpoint by now; -1 when it has none."""
    furthest = session.scalar(select(func.max(Checkpoint.step)).where(Checkpoint.run_id == run.id))
    return -1 if furthest is None else furthest


def _keep_artifact(session: Session, run: Run, saved: ArtifactSaved) -> None:
    key = key_of(saved.sha256)
    objects.hold(session, key, saved.bytes)
    artifact = session.scalar(select(Artifact).where(Artifact.run_id == run.id, Artifact.name == saved.name))
    if artifact is not None and artifact.key != key:
        objects.doom(session, [artifact.key])
    if artifact is None:
        if run.kind == "extract":
            run.losses = 0  # one more shard is there: it has come on
        artifact = Artifact(run_id=run.id, name=saved.name, created_by=run.created_by)
        session.add(artifact)
    run.stored_bytes += saved.bytes - (artifact.bytes or 0)
    artifact.fence, artifact.bytes = run.fence, saved.bytes
    artifact.digest, artifact.key = prefixed(saved.sha256), key


def _sample(body: Metrics, time: float) -> metrics.Sample:
    finite = {key: value for key, value in body.values.items() if math.isfinite(value)}
    return metrics.Sample(body.step, finite, datetime.fromtimestamp(time, UTC))


def _finite(document: Any) -> Any:
    """The document with NaN and infinities, which JSON does not have, as null."""
    if isinstance(document, float):
        return document if math.isfinite(document) else None
    if isinstance(document, dict):
        return {key: _finite(value) for key, value in document.items()}
    if isinstance(document, list):
        return [_finite(item) for item in document]
    return document
