"""Room on a host that others were asked to make: kept for the run they make it for, for as long as that may take.

Without this the first slot that comes free would go to the next smaller run, perhaps to the very one that just left it,
and those who save and leave would do so for nothing.
"""

from datetime import datetime

from sqlalchemy import ColumnElement, and_, or_, select
from sqlalchemy.orm import Session

from control.db.models import Run
from control.records.scheduling.eligibility import MOST_URGENT, not_after


def reserve(run: Run, host: str, until: datetime) -> None:
    """Keep the host's room for `run`, which claims it there or elsewhere, or lets `until` pass."""
    run.reserved_host, run.reserved_until = host, until


def leaves_room(session: Session, host: str, queue: str, now: datetime, free: int) -> tuple[ColumnElement[bool], ...]:
    """Conditions on `Run`: it comes before the one the host's room is kept for, or fits beside it."""
    kept = and_(Run.state == "queued", Run.queue == queue, Run.reserved_host == host, Run.reserved_until > now)
    first = session.scalars(select(Run).where(kept).order_by(*MOST_URGENT).limit(1)).first()
    if first is None:
        return ()
    return (or_(not_after(first.priority, first.id), Run.slots_wanted <= free - first.slots_wanted),)
