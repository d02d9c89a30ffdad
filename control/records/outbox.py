"""Wake-ups owed: written with the change that calls for them, sent after its commit, sent again when nothing moved."""

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from control.db.models import OutboxEntry, Run
from control.db.session import database_time

_RETRY = timedelta(seconds=5)
_KEEP_SENT = timedelta(days=1)


def owe(session: Session, queue: str, delay: float = 0.0) -> None:
    """Promise a wake-up of `queue`, due in `delay` seconds."""
    now = database_time(session)
    session.add(OutboxEntry(queue=queue, created_at=now, due_at=now + timedelta(seconds=delay)))


def due(session: Session, limit: int = 100) -> list[OutboxEntry]:
    """Wake-ups to send now, oldest first. Two relays at once may see the same ones: a doubled wake-up is harmless."""
    owed = OutboxEntry.sent_at.is_(None) & (OutboxEntry.due_at <= database_time(session))
    return list(session.scalars(select(OutboxEntry).where(owed).order_by(OutboxEntry.id).limit(limit)))


def mark_sent(session: Session, ids: Sequence[int]) -> None:
    session.execute(update(OutboxEntry).where(OutboxEntry.id.in_(ids)).values(sent_at=database_time(session)))


def postpone(session: Session, ids: Sequence[int]) -> None:
    """Try these again in a few seconds: the broker did not take them."""
    later = database_time(session) + _RETRY
    values = {"due_at": later, "tries": OutboxEntry.tries + 1}
    session.execute(update(OutboxEntry).where(OutboxEntry.id.in_(ids)).values(values))


def sweep(session: Session, stale_after: float = 60.0) -> list[str]:
    """Promise a new wake-up for every queue that holds a run whose last one is older than this many seconds.

    Returns the queues. Also forgets what was sent long ago.
    """
    now = database_time(session)
    stale = (Run.state == "queued") & (Run.kicked_at < now - timedelta(seconds=stale_after))
    queues = sorted(session.scalars(select(Run.queue).where(stale).distinct()))
    session.execute(update(Run).where(stale).values(kicked_at=now))
    for queue in queues:
        owe(session, queue)
    session.execute(delete(OutboxEntry).where(OutboxEntry.sent_at < now - _KEEP_SENT))
    return queues
