"""How many of a sweep's runs workers may hold at once (`max_parallel`); the others wait, and hold up nobody."""

from sqlalchemy import ColumnElement, ScalarSelect, exists, func, literal, select
from sqlalchemy.orm import Session, aliased

from control.db.models import Run, Sweep, SweepRun
from control.states import HELD


def within() -> ColumnElement[bool]:
    """The condition of a query that the sweep of a run, if it is of one, lets workers hold it as well."""
    full = (
        select(literal(1))
        .select_from(SweepRun)
        .join(Sweep, Sweep.id == SweepRun.sweep_id)
        .where(SweepRun.run_id == Run.id, Sweep.max_parallel <= _held())
    )
    return ~exists(full.correlate(Run))


def confirm(session: Session, run: Run) -> bool:
    """Whether `within` still holds now that nobody else can claim a run of the same sweep until the commit."""
    sweep = _sweep_of(session, run)
    if sweep is None:
        return True
    # Two who count at once would both find room.
    session.get_one(Sweep, sweep.id, with_for_update=True, populate_existing=True)
    return over(session, run) is None


def over(session: Session, run: Run) -> str | None:
    """In what way a queued run waits for others of its sweep; None when it does not."""
    sweep = _sweep_of(session, run)
    if sweep is None:
        return None
    held = session.scalar(select(_held()).where(Sweep.id == sweep.id)) or 0
    if held < (sweep.max_parallel or 0):
        return None
    return f"sweep {sweep.id} may have {sweep.max_parallel} runs at once, and has {held}"


def _sweep_of(session: Session, run: Run) -> Sweep | None:
    """The sweep of a run, if that is bounded."""
    query = select(Sweep).join(SweepRun, SweepRun.sweep_id == Sweep.id)
    return session.scalar(query.where(SweepRun.run_id == run.id, Sweep.max_parallel.is_not(None)))


def _held() -> ScalarSelect[int]:
    """How many runs of a `Sweep` workers hold."""
    member, other = aliased(SweepRun), aliased(Run)
    query = select(func.count()).select_from(member).join(other, other.id == member.run_id)
    return query.where(member.sweep_id == Sweep.id, other.state.in_(HELD)).correlate(Sweep).scalar_subquery()
