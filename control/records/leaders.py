"""One leader for a duty, by a lease row and the database's clock."""

from datetime import timedelta

from sqlalchemy import delete, or_, update
from sqlalchemy.orm import Session

from control.db.models import Leader
from control.db.session import database_time
from control.db.upsert import insert_if_absent


def lead(session: Session, duty: str, holder: str, seconds: float = 15.0) -> bool:
    """Take or keep a duty for `seconds`; False while another holds it. `holder` names one process."""
    now = database_time(session)
    expires = now + timedelta(seconds=seconds)
    mine_or_free = or_(Leader.holder == holder, Leader.expires_at <= now)
    taken = update(Leader).where(Leader.duty == duty, mine_or_free).values(holder=holder, expires_at=expires)
    if session.scalar(taken.returning(Leader.duty)) is not None:
        return True
    return insert_if_absent(session, Leader, {"duty": duty, "holder": holder, "expires_at": expires})


def resign(session: Session, duty: str, holder: str) -> None:
    """Give a duty up at once."""
    session.execute(delete(Leader).where(Leader.duty == duty, Leader.holder == holder))
