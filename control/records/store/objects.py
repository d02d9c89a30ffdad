"""The objects of the artifact store as the tables know them: who needs them, and how one is deleted without a loss.

An object is content: two runs may hold the same one, and one may be uploaded again while it is being deleted. So there
is a row for each, and whoever registers an object or removes it holds that row (docs/decisions/151):

- A writer puts the bytes, then in one transaction takes hold of the object, sees that the store has it, and writes the
  row that needs it. An object that is being removed cannot be taken hold of: the writer puts it again later.
- Who removes one first marks it, seeing that nothing needs it; then deletes the bytes; then forgets it.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, delete, func, or_, select, update
from sqlalchemy.orm import InstrumentedAttribute, Session

from control.db.models import Artifact, Checkpoint, DatasetVersion, LogPiece, StoredObject, Upload, UploadPart, Weights
from control.db.session import database_time
from control.db.upsert import insert_if_absent
from control.errors import BeingRemoved

REFERENCES: tuple[InstrumentedAttribute[Any], ...] = (
    Checkpoint.key,
    Artifact.key,
    LogPiece.key,
    Weights.key,
    DatasetVersion.manifest_key,
    Upload.key,
    UploadPart.key,
)
"""Every column that holds the key of an object. The files of a model version are artifacts of its export."""
TAKE_OVER = timedelta(minutes=10)
"""A removal that was begun and not ended is another's by then: no call to a store lives that long."""
_BATCH = 500


def hold(session: Session, key: str, size: int) -> None:
    """Take hold of an object that was just stored, so that a row of this transaction may need it.

    Raises:
        BeingRemoved: put it again, later.
    """
    values = {"key": key, "bytes": size, "state": "stored", "changed_at": database_time(session)}
    found = None
    while found is None:  # Between the two statements another may end its removal.
        insert_if_absent(session, StoredObject, values)
        found = session.get(StoredObject, key, with_for_update=True, populate_existing=True)
    if found.state == "removing":
        raise BeingRemoved(f"the artifact {key} is being deleted: store it again")
    found.state, found.damaged_at, found.damage = "stored", None, None
    session.flush()


def doom(session: Session, keys: Iterable[str]) -> None:
    """A row that needed these objects is gone, or `deleting`: have them looked at."""
    now = database_time(session)
    for some in _batches(set(keys)):
        stored = update(StoredObject).where(StoredObject.key.in_(some), StoredObject.state == "stored")
        session.execute(stored.values(state="doomed", changed_at=now).execution_options(synchronize_session=False))


def needed(session: Session, keys: Collection[str]) -> set[str]:
    """Those that a row needs."""
    return {found for some in _batches(keys) for query in _holding(some) for found in session.scalars(query)}


def sizes(session: Session, keys: Iterable[str]) -> dict[str, int]:
    """Bytes of each of these objects that there is."""
    query = select(StoredObject.key, StoredObject.bytes)
    return {
        row.key: row.bytes
        for some in _batches(set(keys))
        for row in session.execute(query.where(StoredObject.key.in_(some)))
    }


def any_to_remove(session: Session) -> bool:
    """Whether `begin_removal` would find something to look at."""
    query = select(StoredObject.key).where(_to_remove(database_time(session)))
    return session.scalar(query.limit(1)) is not None


def begin_removal(session: Session, limit: int = 100) -> dict[str, int]:
    """Mark doomed objects that nothing needs as being removed; their bytes by key. The others are stored as before."""
    now = database_time(session)
    query = select(StoredObject).where(_to_remove(now))
    locked = query.order_by(StoredObject.key).limit(limit).with_for_update(skip_locked=True)
    rows = session.scalars(locked.execution_options(populate_existing=True)).all()
    return _mark(session, rows, now)


def begin_orphans(session: Session, found: dict[str, int]) -> dict[str, int]:
    """The same for objects that the store has (bytes by key) and no table knows."""
    now = database_time(session)
    for key, size in found.items():
        values = {"key": key, "bytes": size, "state": "doomed", "changed_at": now}
        insert_if_absent(session, StoredObject, values)
    query = select(StoredObject).where(StoredObject.key.in_(found), StoredObject.state == "doomed")
    rows = session.scalars(query.order_by(StoredObject.key).with_for_update(skip_locked=True)).all()
    return _mark(session, rows, now)


def end_removal(session: Session, keys: Collection[str]) -> None:
    """The store has them no more: forget them."""
    for some in _batches(keys):
        session.execute(delete(StoredObject).where(StoredObject.key.in_(some), StoredObject.state == "removing"))
        _settle(session, some)


def unknown(session: Session, keys: Sequence[str]) -> set[str]:
    """Those of the store's objects that no table knows and nothing needs."""
    known = set(session.scalars(select(StoredObject.key).where(StoredObject.key.in_(keys))))
    return set(keys) - known - needed(session, keys)


def report_damage(session: Session, key: str, damage: str) -> None:
    """A reader found an object missing, or not what its key names: remember it, so that a person hears of it."""
    spoilt = update(StoredObject).where(StoredObject.key == key, StoredObject.damaged_at.is_(None))
    session.execute(spoilt.values(damaged_at=database_time(session), damage=damage))


def count_damaged(session: Session) -> int:
    """How many objects a reader found damaged."""
    return session.scalar(select(func.count()).where(StoredObject.damaged_at.is_not(None))) or 0


def mend(session: Session, key: str) -> None:
    """An object that was found damaged is as it should be: its disk is back, or it was put there by hand."""
    session.execute(update(StoredObject).where(StoredObject.key == key).values(damaged_at=None, damage=None))


def list_damaged(session: Session, limit: int = 100) -> list[StoredObject]:
    """Objects that a reader found damaged and nobody has stored again, newest first."""
    query = select(StoredObject).where(StoredObject.damaged_at.is_not(None))
    return list(session.scalars(query.order_by(StoredObject.damaged_at.desc()).limit(limit)))


def needed_by(session: Session, key: str) -> list[str]:
    """What needs an object, by name: a few of each kind."""
    some: list[Select[Any]] = [
        select(Checkpoint).where(Checkpoint.key == key, Checkpoint.state == "stored"),
        select(Artifact).where(Artifact.key == key),
        select(LogPiece).where(LogPiece.key == key),
        select(Weights).where(Weights.key == key),
        select(DatasetVersion).where(DatasetVersion.manifest_key == key),
        select(Upload).where(Upload.key == key),
    ]
    return [_name(row) for query in some for row in session.scalars(query.limit(10))]


def totals(session: Session) -> dict[str, tuple[int, int]]:
    """Number and bytes of the objects by state."""
    query = select(StoredObject.state, func.count(), func.sum(StoredObject.bytes)).group_by(StoredObject.state)
    return {state: (count, int(size)) for state, count, size in session.execute(query)}


def _name(row: Checkpoint | Artifact | LogPiece | Weights | DatasetVersion | Upload) -> str:
    match row:
        case Checkpoint():
            return f"checkpoint {row.id} of run {row.run_id}"
        case Artifact():
            return f"file {row.name} of run {row.run_id}"
        case LogPiece():
            return f"a piece of the log of run {row.run_id}"
        case DatasetVersion():
            return f"data set {row.ref}"
        case Weights() | Upload():
            return f"{type(row).__name__.lower()} {row.id}"


def _to_remove(now: datetime) -> ColumnElement[bool]:
    abandoned = (StoredObject.state == "removing") & (StoredObject.changed_at < now - TAKE_OVER)
    return or_(StoredObject.state == "doomed", abandoned)


def _mark(session: Session, rows: Sequence[StoredObject], now: datetime) -> dict[str, int]:
    # After their rows are held: whoever took one up before has committed, and is seen by now.
    kept = needed(session, [row.key for row in rows])
    for row in rows:
        row.state, row.changed_at = "stored" if row.key in kept else "removing", now
    session.flush()
    _settle(session, sorted(kept))
    return {row.key: row.bytes for row in rows if row.key not in kept}


def _settle(session: Session, keys: Sequence[str]) -> None:
    """Checkpoints that waited for the end of these objects are deleted."""
    waiting = update(Checkpoint).where(Checkpoint.key.in_(keys), Checkpoint.state == "deleting")
    session.execute(waiting.values(state="deleted").execution_options(synchronize_session=False))


def _batches(keys: Collection[str]) -> Iterator[list[str]]:
    """In order, so that two transactions never wait for each other."""
    ordered = sorted(keys)
    for start in range(0, len(ordered), _BATCH):
        yield ordered[start : start + _BATCH]


def _holding(keys: Sequence[str]) -> Iterator[Select[Any]]:
    for column in REFERENCES:
        query = select(column).where(column.in_(keys))
        yield query.where(Checkpoint.state == "stored") if column is Checkpoint.key else query
