"""An attempt as a trace shows it: when it waited, was prepared, worked and ended, and how."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from control.db.models import Attempt, Run, RunEvent


@dataclass(frozen=True, kw_only=True, slots=True)
class EndedAttempt:
    """One try that is over."""

    run_id: str
    kind: str
    number: int
    host: str
    state: str
    """How it ended: `completed`, `stopped`, `failed`, `lost` or `preempted`."""
    cause: str | None
    reason: str | None
    traceparent: str | None
    """Of the request the run was submitted by."""
    queued_at: datetime
    claimed_at: datetime
    started_at: datetime | None
    """When its job ran; None: it never did."""
    ended_at: datetime


def ended_attempt(session: Session, run_id: str, fence: int | None = None) -> EndedAttempt | None:
    """The run's attempt of this fence, None its newest; None when there is none that has ended."""
    query = select(Run, Attempt).join(Attempt, Attempt.run_id == Run.id).where(Run.id == run_id)
    query = query.where(Attempt.ended_at.is_not(None), *(() if fence is None else (Attempt.fence == fence,)))
    found = session.execute(query.order_by(Attempt.number.desc()).limit(1)).first()
    if found is None:
        return None
    run, attempt = found
    assert attempt.ended_at is not None  # noqa: S101 - the query's own condition
    return EndedAttempt(
        run_id=run.id,
        kind=run.kind,
        number=attempt.number,
        host=attempt.host,
        state=attempt.state,
        cause=attempt.cause,
        reason=attempt.reason,
        traceparent=run.traceparent,
        queued_at=_queued_at(session, run, attempt),
        claimed_at=attempt.created_at,
        started_at=attempt.started_at,
        ended_at=attempt.ended_at,
    )


def _queued_at(session: Session, run: Run, attempt: Attempt) -> datetime:
    """Since when it waited for this attempt; never after its claim, whatever the clocks of the hosts say."""
    queued = (RunEvent.type == "state", RunEvent.payload["state"].as_string() == "queued")
    query = select(RunEvent.time).where(RunEvent.run_id == run.id, *queued, RunEvent.fence < attempt.fence)
    last = session.scalar(query.order_by(RunEvent.id.desc()).limit(1))
    return min(last or run.created_at, attempt.created_at)
