"""Numbers of rows, for gauges."""

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from control.db.models import Run, Slot


def job_counts(session: Session) -> dict[tuple[str, str], int]:
    """Jobs by kind and state."""
    query = select(Run.kind, Run.state, func.count()).group_by(Run.kind, Run.state)
    return {(kind, state): count for kind, state, count in session.execute(query)}


def slot_counts(session: Session) -> dict[tuple[str, str], int]:
    """Slots by purpose, and whether they are `free` or `taken`."""
    taken = Slot.run_id.is_not(None)
    query = select(Slot.purpose, taken, func.count()).group_by(Slot.purpose, taken)
    return {(purpose, "taken" if held else "free"): count for purpose, held, count in session.execute(query)}
