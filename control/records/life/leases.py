"""Holding a claimed run: renewing its lease, learning what is wanted of it, starting it, ending its attempt.

Every call carries (run, fence); a stale one changes nothing and says so, and its caller must stop and write no more.
Promised: at-least-once start, at most one writer, exactly one terminal state.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, select, update
from sqlalchemy.orm import Session

from control.db.models import Attempt, Run, Slot
from control.db.session import database_time
from control.records import outbox
from control.records.journal.history import get_attempt
from control.records.planning import monitors
from control.records.runs.moves import announce, enter, lock
from control.records.scheduling.gangs import Trouble, disband, trouble
from control.states import HELD, OWN_FAULTS, Cause, DesiredState, Ending, Tally, after_attempt
from detco_core.contract.errors import ErrorKind


@dataclass(frozen=True, slots=True)
class Directive:
    """What is wanted of a held run."""

    desired_state: DesiredState
    grace_seconds: float | None
    """Of this run, between SIGTERM and SIGKILL; None: the service's setting."""
    trouble: Trouble | None = None
    """What became of another host that works on it."""
    seconds_left: float | None = None
    """That this attempt may take, from its claim; None: as long as it needs."""
    idle_seconds: float | None = None
    """That its job may be silent; None: the service's setting."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """How an attempt ended, as its runner saw it.

    `completed`: `finished` event and exit 0. `stopped`: exit 75. `failed`: a final `error` event, whose kind and
    message these are. `lost`: died without a last event. `preempted`: stopped because its worker leaves.
    """

    kind: Ending
    error_kind: ErrorKind | None = None
    cause: Cause | None = None
    """Where the runner knows better than the kind tells."""
    message: str | None = None
    exit_code: int | None = None
    signal: str | None = None
    """That the process died of, e.g. `SIGKILL`."""
    log_tail: str | None = None
    cpu_seconds: float | None = None
    """That its processes used; None: nobody was left to measure."""
    began: bool = True
    """False: it was stopped before its job ran, so there was nothing it could save."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Held:
    """A run that a worker of some host holds."""

    run_id: str
    fence: int
    worker_id: str
    pid: int | None
    """Of the runner."""
    node: int = 0
    """Which of the run's hosts this is; 0 leads."""


def look(session: Session, run_id: str, fence: int) -> Directive | None:
    """What is wanted now, without renewing; None: stale."""
    return _directive(session, session.execute(select(*_WANTED).where(*_held(run_id, fence))).first())


def renew(session: Session, run_id: str, fence: int, lease_seconds: float = 60.0) -> Directive | None:
    """Hold the run for another `lease_seconds` by the database's clock; None: stale."""
    expires = database_time(session) + timedelta(seconds=lease_seconds)
    query = update(Run).where(*_held(run_id, fence)).values(lease_expires_at=expires).returning(*_WANTED)
    return _directive(session, session.execute(query.execution_options(synchronize_session=False)).first())


def start(session: Session, run_id: str, fence: int, pid: int) -> bool:
    """The runner `pid` runs its child: `starting` becomes `running`; False: stale."""
    run = lock_held(session, run_id, fence)
    if run is None:
        return False
    now = database_time(session)
    attempt = get_attempt(session, run_id, fence)
    attempt.pid, attempt.started_at, attempt.state = pid, now, "running"
    run.started_at = run.started_at or now
    if run.state == "starting":
        run.state = "running"
        announce(session, run, f"worker:{attempt.host}")
    return True


def close(session: Session, run_id: str, fence: int, outcome: Outcome) -> bool:
    """End the attempt, free its slots and bring the run to its next state; False: stale, nothing changed."""
    run = lock_held(session, run_id, fence)
    if run is None:
        return False
    _end(session, run, outcome, database_time(session))
    return True


def reap(session: Session, grace_seconds: float = 0.0, limit: int = 100) -> list[str]:
    """Take back runs whose lease ended more than `grace_seconds` ago: fenced first, closed as `lost`, queued again.

    Returns their ids.
    """
    now = database_time(session)
    expired = Run.state.in_(HELD) & (Run.lease_expires_at < now - timedelta(seconds=grace_seconds))
    query = select(Run).where(expired).order_by(Run.id).limit(limit).with_for_update(skip_locked=True)
    runs = session.scalars(query.execution_options(populate_existing=True)).all()
    for run in runs:
        outcome = Outcome(kind="lost", message=f"worker on {run.lease_host} was not heard of in time")
        _end(session, run, outcome, now)
        run.fence += 1
    return [run.id for run in runs]


def held_on(session: Session, host: str) -> list[Held]:
    """Runs held by workers of this host: a new worker closes as `lost` those whose runner is no longer alive."""
    query = (
        select(Run.id, Run.fence, Attempt.worker_id, Attempt.pid)
        .join(Attempt, (Attempt.run_id == Run.id) & (Attempt.fence == Run.fence))
        .where(Run.state.in_(HELD), Run.lease_host == host)
        .order_by(Run.id)
    )
    return [Held(run_id=r.id, fence=r.fence, worker_id=r.worker_id, pid=r.pid) for r in session.execute(query)]


def lock_held(session: Session, run_id: str, fence: int) -> Run | None:
    """The run, held until the end of the transaction; None when the fence is stale or nobody should hold it."""
    run = lock(session, run_id)
    return run if run is not None and run.fence == fence and run.state in HELD else None


_WANTED = (
    *(Run.id, Run.fence, Run.nodes, Run.desired_state),
    *(Run.grace_seconds, Run.max_seconds, Run.worked_seconds, Run.idle_seconds),
)


def _held(run_id: str, fence: int) -> tuple[ColumnElement[bool], ...]:
    return Run.id == run_id, Run.fence == fence, Run.state.in_(HELD)


def _directive(session: Session, row: Any) -> Directive | None:
    if row is None:
        return None
    found = trouble(session, row.id, row.fence) if row.nodes > 1 else None
    left = None if row.max_seconds is None else row.max_seconds - row.worked_seconds
    return Directive(row.desired_state, row.grace_seconds, found, left, row.idle_seconds)


def _end(session: Session, run: Run, outcome: Outcome, now: datetime) -> None:
    ending = _ending(outcome, run.desired_state)
    attempt = get_attempt(session, run.id, run.fence)
    # Who asked it to make room said why at once; its runner knows only that it was asked.
    message = run.reason if ending == "preempted" and run.desired_state == "preempt" else outcome.message
    cause = _cause(outcome, ending)
    _record(attempt, ending, cause, replace(outcome, message=message), now)
    worked = (now - attempt.created_at).total_seconds()
    run.gpu_seconds += attempt.gpus * worked
    run.worked_seconds += worked
    if outcome.cpu_seconds is not None:
        run.cpu_seconds = (run.cpu_seconds or 0.0) + outcome.cpu_seconds
    _free(session, run, disband(session, run, ending, now))
    tally = Tally(run.failures, run.max_attempts, run.losses)
    following = after_attempt(ending, run.desired_state, tally, message, cause)
    run.failures, run.losses = following.failures, following.losses
    run.not_before = now + timedelta(seconds=following.back_off) if following.back_off else None
    run.desired_state = "run" if run.desired_state == "preempt" else run.desired_state
    enter(session, run, following.state, following.reason, f"worker:{attempt.host}")
    if following.state == "completed":
        monitors.note_end(session, run)
    session.flush()


def _ending(outcome: Outcome, desired: DesiredState) -> Ending:
    if outcome.kind == "failed" and outcome.error_kind not in OWN_FAULTS:
        return "lost"
    if outcome.kind == "stopped" and (desired in ("run", "preempt") or (desired == "finish" and not outcome.began)):
        return "stopped" if outcome.cause == "time_limit" else "preempted"
    return outcome.kind


def _cause(outcome: Outcome, ending: Ending) -> Cause | None:
    if outcome.cause is not None or ending in ("completed", "stopped"):
        return outcome.cause
    if ending == "preempted":
        return "preempted"
    return outcome.error_kind or ("crashed" if outcome.kind == "failed" else "worker_lost")


def _record(attempt: Attempt, ending: Ending, cause: Cause | None, outcome: Outcome, now: datetime) -> None:
    attempt.state, attempt.ended_at, attempt.cause = ending, now, cause
    attempt.error_kind, attempt.reason = outcome.error_kind, outcome.message
    attempt.exit_code, attempt.signal, attempt.log_tail = outcome.exit_code, outcome.signal, outcome.log_tail
    attempt.cpu_seconds = outcome.cpu_seconds


def _free(session: Session, run: Run, busy: Collection[str]) -> None:
    """Give back the lease, and the slots of all hosts but the busy ones; wake the queue if somebody waits for them."""
    released = update(Slot).where(Slot.run_id == run.id, Slot.fence == run.fence, Slot.host.not_in(busy))
    session.execute(released.values(run_id=None, fence=None, leased_at=None))
    run.lease_owner = run.lease_host = run.lease_expires_at = None
    waiting = select(Run.id).where(Run.queue == run.queue, Run.state == "queued").limit(1)
    if session.scalar(waiting) is not None:
        outbox.owe(session, run.queue)
