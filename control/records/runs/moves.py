"""Puts a run into a state, and does what must follow in the same transaction.

Whoever calls holds the run's row: on PostgreSQL it was read FOR UPDATE, on SQLite the unit of work has the write lock.
"""

from datetime import UTC, datetime

from sqlalchemy import ColumnElement, Select, or_, select
from sqlalchemy.orm import Session

from control.db.models import DatasetVersion, Run, RunDependency, RunEvent, Weights
from control.db.session import database_time
from control.records import outbox
from control.records.runs import results
from control.records.store import uses
from control.records.webhooks import notices
from control.states import TERMINAL, State

SERVICE = "detco"
"""Actor of what the service does by itself."""


def lock(session: Session, run_id: str) -> Run | None:
    """The run as it is now, held until the end of the transaction."""
    return session.get(Run, run_id, with_for_update=True, populate_existing=True)


def enter(session: Session, run: Run, state: State, reason: str | None, actor: str) -> None:
    """Change the state, say so in the run's events, and see to wake-ups, results and dependants."""
    _enter(session, run, state, reason, actor)
    ended = [run] if state in TERMINAL else []
    while ended:  # not by recursion: who comes after whom may be a long chain
        ended += _release(session, ended.pop())


def announce(session: Session, run: Run, actor: str) -> None:
    """Append a `state` event, the service's own kind."""
    payload = {
        "state": run.state,
        "desired_state": run.desired_state,
        "reason": run.reason,
        "attempt": run.attempt,
        "actor": actor,
    }
    session.add(RunEvent(run_id=run.id, fence=run.fence, type="state", payload=payload, time=datetime.now(UTC)))
    notices.tell_state(session, run)


def _enter(session: Session, run: Run, state: State, reason: str | None, actor: str) -> None:
    run.state, run.reason = state, reason
    announce(session, run, actor)
    if state == "queued":
        _call_for_work(session, run)
    elif state in TERMINAL:
        run.finished_at = database_time(session)
        results.settle(session, run)
        notices.tell_result(session, run)
        uses.release(session, run)


def _call_for_work(session: Session, run: Run) -> None:
    now = database_time(session)
    run.kicked_at = now
    delay = max(0.0, (run.not_before - now).total_seconds()) if run.not_before else 0.0
    outbox.owe(session, run.queue, delay)


def _release(session: Session, ended: Run) -> list[Run]:
    """Wake the queues of runs that waited for `ended`; end those that wait for something that will never come.

    These are returned. They end as what they waited for did: cancelled with it, or failed.
    """
    with_it: list[Run] = []
    for waiting in session.scalars(_waiting_for(ended).with_for_update()).all():
        reason = _never(session, ended, waiting)
        if reason is None:
            outbox.owe(session, waiting.queue)
        else:
            waiting.desired_state = "cancel" if ended.state == "cancelled" else waiting.desired_state
            _enter(session, waiting, "cancelled" if ended.state == "cancelled" else "failed", reason, SERVICE)
            with_it.append(waiting)
    return with_it


def _waiting_for(ended: Run) -> Select[Run]:
    after: ColumnElement[bool] = Run.id.in_(select(RunDependency.run_id).where(RunDependency.after_id == ended.id))
    if ended.kind == "check":
        after = or_(after, Run.dataset_version_id == ended.dataset_version_id)
    return select(Run).where(Run.state.in_(("queued", "paused")), after)


def _never(session: Session, ended: Run, waiting: Run) -> str | None:
    if ended.kind == "check" and waiting.dataset_version_id == ended.dataset_version_id:
        version = session.get_one(DatasetVersion, ended.dataset_version_id)
        return None if version.state == "ready" else f"data set {version.ref} could not be scanned: {version.reason}"
    if ended.kind == "import":
        weights = session.get_one(Weights, ended.spec["weights_id"])
        return None if weights.state == "ready" else f"weights {weights.id} could not be imported: {weights.reason}"
    return None if ended.state == "completed" else f"it was to run after {ended.id}, which ended {ended.state}"
