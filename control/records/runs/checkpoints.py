"""What is kept of the checkpoints of a run: pins, policies, and the marking of those that may go."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import delete, func, insert, or_, select, update
from sqlalchemy.orm import Session

from control.db.models import Checkpoint, ModelVersion, MonitorEvaluation, RetentionDue, Run, RunUse, StoredObject
from control.errors import NotFound
from control.records.journal.history import NEWEST
from control.records.names import job_name
from control.records.runs.moves import lock
from control.records.store import objects
from control.retention import Candidate, Policy, Reasons, reasons
from control.states import TERMINAL
from detco_core.contract.evaluations import better


@dataclass(frozen=True, slots=True)
class Judged:
    """The checkpoints of a run that are in the store, newest first, and why each is kept."""

    checkpoints: Sequence[Checkpoint]
    reasons: Reasons

    @property
    def spare(self) -> list[Checkpoint]:
        """Those that may go."""
        return [one for one in self.checkpoints if not self.reasons[one.id]]


def policy_of(run: Run, defaults: Policy) -> Policy:
    """What is kept of a run: what it says, else the service's setting."""
    return defaults.changed(run.keep)


def judge(session: Session, run: Run, policy: Policy) -> Judged:
    """Why each checkpoint of a run is kept under a policy."""
    query = select(Checkpoint).where(Checkpoint.run_id == run.id, Checkpoint.state == "stored")
    stored = session.scalars(query.order_by(*NEWEST)).all()
    holders = _holders(session, [one.id for one in stored])
    damaged = _damaged(session, stored)
    sign = _sign(run)
    candidates = [
        Candidate(
            id=one.id,
            epoch=one.epoch,
            score=None if one.score is None else sign * one.score,
            pinned=one.pinned_at is not None,
            damaged=one.key in damaged,
            held_by=tuple(holders.get(one.id, ())),
        )
        for one in stored
    ]
    return Judged(stored, reasons(candidates, policy, goes_on=run.state not in TERMINAL))


def set_policy(session: Session, run: Run, keep: Mapping[str, Any]) -> Run:
    """Change what is kept of a run, in any state; what then may go goes with the next clean-up."""
    held = lock(session, run.id)
    if held is None or held.deleted_at is not None:
        raise NotFound("run", run.id)
    held.keep = {key: value for key, value in keep.items() if value is not None} or None
    reconsider(session, run.id)
    session.flush()
    return held


def pin(session: Session, checkpoint: Checkpoint, actor: str) -> Checkpoint:
    """Keep a checkpoint until it is unpinned; pinning again changes nothing. Raises `NotFound` when it is deleted."""
    held = _held(session, checkpoint)
    if held.pinned_at is None:
        held.pinned_by, held.pinned_at = actor, datetime.now(UTC)
        session.flush()
    return held


def unpin(session: Session, checkpoint: Checkpoint) -> Checkpoint:
    """Let a checkpoint go once nothing else keeps it; unpinning again changes nothing."""
    held = _held(session, checkpoint)
    held.pinned_by = held.pinned_at = None
    reconsider(session, held.run_id)
    session.flush()
    return held


def reconsider(session: Session, run_id: str) -> None:
    """Have the checkpoints of a run looked at soon."""
    session.execute(insert(RetentionDue).values(run_id=run_id))


def reconsider_all(session: Session) -> None:
    """Have every run with more than one checkpoint looked at: the service's settings may have changed."""
    several = select(Checkpoint.run_id).where(Checkpoint.state == "stored")
    several = several.group_by(Checkpoint.run_id).having(func.count() > 1)
    session.execute(insert(RetentionDue).from_select(["run_id"], several))


def due(session: Session, limit: int = 50) -> dict[str, int]:
    """Runs that are to be looked at, oldest call first, with the newest call of each: what `prune` is to be told."""
    oldest = select(RetentionDue.run_id, RetentionDue.id).order_by(RetentionDue.id).limit(limit)
    calls: dict[str, int] = {}
    for row in session.execute(oldest):
        calls[row.run_id] = row.id
    return calls


def prune(session: Session, run_id: str, call: int, defaults: Policy) -> int:
    """Mark those checkpoints of a run as `deleting` that nothing keeps; how many."""
    run = lock(session, run_id)
    session.execute(delete(RetentionDue).where(RetentionDue.run_id == run_id, RetentionDue.id <= call))
    if run is None or run.deleted_at is not None:
        return 0
    spare = judge(session, run, policy_of(run, defaults)).spare
    if not spare:
        return 0
    locked = hold(session, spare)
    # Once more, now that nobody can begin to refer to them.
    gone = [one for one in judge(session, run, policy_of(run, defaults)).spare if one.id in locked]
    mark(session, run, gone)
    if len(gone) < len(spare):
        reconsider(session, run_id)
    return len(gone)


def hold(session: Session, checkpoints: Sequence[Checkpoint]) -> set[str]:
    """Lock checkpoints of a run that is locked; the ids of those that no request is just beginning to use."""
    ids = [one.id for one in checkpoints]
    # Not waiting: who holds one may be waiting for the run.
    query = select(Checkpoint.id).where(Checkpoint.id.in_(ids)).order_by(Checkpoint.id)
    return set(session.scalars(query.with_for_update(skip_locked=True)))


def mark(session: Session, run: Run, gone: Sequence[Checkpoint]) -> None:
    """Let checkpoints of a run go; the caller holds the run and them."""
    marked = update(Checkpoint).where(Checkpoint.id.in_([one.id for one in gone]), Checkpoint.state == "stored")
    session.execute(marked.values(state="deleting", pinned_at=None, pinned_by=None))
    smaller = Run.stored_bytes - sum(one.bytes for one in gone)
    # Not a change of the run that its reader would have to see: the version stays.
    session.execute(update(Run).where(Run.id == run.id).values(stored_bytes=smaller))
    objects.doom(session, {one.key for one in gone})


def _held(session: Session, checkpoint: Checkpoint) -> Checkpoint:
    held = session.get(Checkpoint, checkpoint.id, with_for_update=True, populate_existing=True)
    if held is None or held.state != "stored":
        raise NotFound("checkpoint", checkpoint.id)
    return held


def _damaged(session: Session, stored: Sequence[Checkpoint]) -> set[str]:
    keys = [one.key for one in stored]
    query = select(StoredObject.key).where(StoredObject.key.in_(keys), StoredObject.damaged_at.is_not(None))
    return set(session.scalars(query))


def _sign(run: Run) -> int:
    """What makes the higher of two of the monitor's scores the better one."""
    monitor = run.spec.get("monitor")
    return -1 if monitor and better(monitor["task"], monitor["metric"]) == "lower" else 1


def _holders(session: Session, ids: Collection[str]) -> dict[str, list[str]]:
    """What needs each of these checkpoints: model versions, and runs of any kind that were told to work on it."""
    found: dict[str, list[str]] = {}
    versions = select(ModelVersion).where(ModelVersion.checkpoint_id.in_(ids))
    for version in session.scalars(versions.where(ModelVersion.state.in_(("exporting", "ready")))):
        found.setdefault(str(version.checkpoint_id), []).append(f"model version {version.ref}")
    users = select(RunUse.used_id, Run.id, Run.kind, Run.state).join(Run, Run.id == RunUse.run_id)
    # What a monitor found is in the score: its evaluations need their checkpoints only until they have ended.
    watched = select(MonitorEvaluation.evaluation_id).where(MonitorEvaluation.evaluation_id == Run.id)
    users = users.where(or_(Run.state.not_in(TERMINAL), ~watched.exists()))
    for used, run_id, kind, state in session.execute(users.where(RunUse.used_id.in_(ids), Run.deleted_at.is_(None))):
        if kind in _LASTING or state not in TERMINAL:
            found.setdefault(used, []).append(job_name(kind, run_id))
    return found


_LASTING = ("pretrain", "evaluate")
"""Kinds of runs that need what they worked on also when they have ended: it says what their results are of."""
