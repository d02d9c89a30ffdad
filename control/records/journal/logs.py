"""The log of an attempt in pieces: what was printed last in rows, the rest in the artifact store.

Positions are bytes of what the attempt's processes have printed, counted from its beginning; they never change. A long
log keeps its beginning and its end: pieces in between are left out, and leave a gap. Each host of an attempt (node) has
a log of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, delete, func, select
from sqlalchemy.orm import Session

from control.db.models import Attempt, LogPiece, Run
from control.db.upsert import insert_if_absent
from control.records.store import objects

HEAD_SHARE = 4
"""One part in so many of a long log is kept of its beginning, the rest of its end."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of the log without a gap."""

    start: int
    size: int
    key: str | None
    """In the artifact store; None while its bytes are in the row."""

    @property
    def end(self) -> int:
        return self.start + self.size


@dataclass(frozen=True, slots=True)
class Stretch:
    """Bytes of the log, and where they come from."""

    start: int
    data: bytes | None
    """None: `size` bytes of the store's `key`, from its beginning."""
    key: str | None
    size: int


def append(session: Session, run_id: str, fence: int, node: int, start: int, data: bytes) -> bool:
    """Keep what was printed at `start`; again is no harm. False: there is no such run any more.

    A stale attempt may do so too: what it printed is its own log, and touches nothing else.
    """
    if session.scalar(select(Run.id).where(Run.id == run_id, Run.deleted_at.is_(None))) is None:
        return False
    row = {"run_id": run_id, "fence": fence, "node": node, "start": start, "size": len(data), "data": data, "key": None}
    insert_if_absent(session, LogPiece, row)
    return True


def pieces(session: Session, run_id: str, fence: int, node: int) -> list[Piece]:
    """What is kept of the log, from its beginning."""
    columns = (LogPiece.start, LogPiece.size, LogPiece.key)
    return [Piece(*row) for row in session.execute(select(*columns).where(*_of(run_id, fence, node)).order_by(*_ORDER))]


def length(session: Session, run_id: str, fence: int, node: int) -> int:
    """How much was printed, gaps included, as far as it is known here."""
    return session.scalar(select(func.max(LogPiece.start + LogPiece.size)).where(*_of(run_id, fence, node))) or 0


def stretches(
    session: Session, run_id: str, fence: int, node: int, start: int, end: int, limit: int = 16
) -> list[Stretch]:
    """The next pieces that have bytes of this range, whole."""
    columns = (LogPiece.start, LogPiece.data, LogPiece.key, LogPiece.size)
    inside = (LogPiece.start < end, LogPiece.start + LogPiece.size > start)
    query = select(*columns).where(*_of(run_id, fence, node), *inside).order_by(*_ORDER).limit(limit)
    return [Stretch(*row) for row in session.execute(query)]


def loose(session: Session, run_id: str, fence: int, node: int) -> list[Stretch]:
    """The first pieces that are in rows and follow each other without a gap."""
    columns = (LogPiece.start, LogPiece.data, LogPiece.key, LogPiece.size)
    query = select(*columns).where(*_of(run_id, fence, node), LogPiece.key.is_(None)).order_by(*_ORDER)
    found: list[Stretch] = []
    for row in session.execute(query):
        if found and row.start != found[-1].start + found[-1].size:
            break
        found.append(Stretch(*row))
    return found


def seal(session: Session, run_id: str, fence: int, node: int, whole: Piece) -> bool:
    """A piece is in the store: it takes the place of the rows it holds. False: they are not all there any more.

    Raises:
        BeingRemoved: the same content is being deleted from the store: put it again.
    """
    inside = (LogPiece.start >= whole.start, LogPiece.start < whole.end, LogPiece.key.is_(None))
    rows = select(LogPiece.start, LogPiece.size).where(*_of(run_id, fence, node), *inside).with_for_update()
    found = session.execute(rows).all()
    if sum(row.size for row in found) != whole.size:
        return False
    if whole.key is not None:
        objects.hold(session, whole.key, whole.size)
    session.execute(delete(LogPiece).where(*_of(run_id, fence, node), LogPiece.start.in_([row.start for row in found])))
    session.add(LogPiece(run_id=run_id, fence=fence, node=node, start=whole.start, size=whole.size, key=whole.key))
    return True


def rotate(session: Session, run_id: str, fence: int, node: int, most: int) -> int:
    """Leave out pieces between beginning and end until at most `most` bytes are kept; returns how many bytes went.

    Whole pieces go, so up to one more may be kept of the beginning.
    """
    kept = pieces(session, run_id, fence, node)
    excess = sum(piece.size for piece in kept) - most
    gone: list[Piece] = []
    head = 0
    for piece in kept[:-1]:
        head += piece.size
        if head <= most // HEAD_SHARE:
            continue
        if excess <= sum(left.size for left in gone):
            break
        gone.append(piece)
    if gone:
        starts = [piece.start for piece in gone]
        session.execute(delete(LogPiece).where(*_of(run_id, fence, node), LogPiece.start.in_(starts)))
        objects.doom(session, [piece.key for piece in gone if piece.key is not None])
    return sum(piece.size for piece in gone)


def ended_with_loose(session: Session, limit: int = 100) -> Sequence[tuple[str, int, int]]:
    """Run, fence and node of attempts that have ended and have pieces in rows."""
    of_attempt = (LogPiece.run_id == Attempt.run_id) & (LogPiece.fence == Attempt.fence)
    over = (LogPiece.key.is_(None), Attempt.ended_at.is_not(None))
    query = select(*_OWNER).join(Attempt, of_attempt).where(*over).distinct().limit(limit)
    return [(row.run_id, row.fence, row.node) for row in session.execute(query)]


_ORDER = (LogPiece.start,)
_OWNER = (LogPiece.run_id, LogPiece.fence, LogPiece.node)


def _of(run_id: str, fence: int, node: int) -> tuple[ColumnElement[bool], ...]:
    return LogPiece.run_id == run_id, LogPiece.fence == fence, LogPiece.node == node
