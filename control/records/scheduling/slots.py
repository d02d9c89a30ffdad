"""Which slots a run can be given now, on one host."""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, Select, func, select
from sqlalchemy.orm import Session

from control.db.models import Slot
from control.records.scheduling.workers import Purpose


def free_slots(session: Session, host: str, purpose: Purpose) -> int:
    """How many there are for a run that takes one."""
    return session.scalar(select(func.count()).select_from(Slot).where(*available(purpose), Slot.host == host)) or 0


def choose(session: Session, host: str, purpose: Purpose, count: int, *, take: bool) -> Sequence[Slot] | None:
    """`count` free slots, None when there are not so many; `take` locks them, and passes over what others have locked.

    The order is the same for everybody.
    """
    query = select(Slot).where(*available(purpose, count), Slot.host == host).order_by(Slot.uuid).limit(count)
    found = session.scalars(locked(query) if take else query).all()
    return found if len(found) == count else None


def available(purpose: Purpose, count: int = 1) -> tuple[ColumnElement[bool], ...]:
    """Conditions on a slot that a run taking `count` of a host can be given.

    A process sees one MIG instance at most, so several of them do not make a run of several processes.
    """
    return (*usable(purpose, count), Slot.run_id.is_(None))


def usable(purpose: Purpose, count: int = 1) -> tuple[ColumnElement[bool], ...]:
    """Conditions on a slot that such a run could be given if nobody had it."""
    whole = (~Slot.uuid.startswith("MIG-"),) if count > 1 else ()
    return (Slot.purpose == purpose, Slot.set_aside.is_(None), *whole)


def locked(query: Select[Slot]) -> Select[Slot]:
    """The query as one that takes what it finds, and waits for nobody."""
    return query.with_for_update(skip_locked=True).execution_options(populate_existing=True)
