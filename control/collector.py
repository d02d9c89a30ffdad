"""Deletes for good what the tables have let go: objects of the store, and the rows of deleted runs.

Every step is a transaction of its own and may be repeated; killed anywhere, the next
round goes on (docs/decisions/151).
"""

import hashlib
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice

from sqlalchemy import Engine

from control.db.session import read_only, unit_of_work
from control.errors import StoreError
from control.records.runs import checkpoints, purges
from control.records.store import objects
from control.retention import Policy
from control.storage.base import Entry, Store, key_of

PATIENCE = 120.0
"""Seconds from the marking of objects to the last call that deletes one: far less than `objects.TAKE_OVER`."""
_PAGE = 500

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Orphans:
    """What is in the store and in no table."""

    count: int
    bytes: int


def look_after(engine: Engine, store: Store, defaults: Policy) -> int:
    """One round: mark checkpoints that nothing keeps, take away rows of what was deleted, delete doomed objects.

    Returns the bytes freed; 0 when there is nothing left to do.

    Raises:
        StoreError, OperationalError, InterfaceError: store or database are away; call again later.
    """
    with read_only(engine) as session:
        due = checkpoints.due(session)
    for run_id, call in due.items():
        with unit_of_work(engine) as session:
            checkpoints.prune(session, run_id, call, defaults)
    purge(engine)
    return collect(engine, store)


def purge(engine: Engine) -> None:
    """Take away the rows of what was deleted, some at a time so that nobody waits for it long."""
    with read_only(engine) as session:
        pending = purges.pending(session)
    for deletion_id in pending:
        done = False
        while not done:
            with unit_of_work(engine) as session:
                done = purges.step(session, deletion_id)


def collect(engine: Engine, store: Store) -> int:
    """Delete doomed objects that nothing needs any more; the bytes freed."""
    freed = 0
    while _any(engine):  # Seen without the write lock, which most rounds then do not take.
        with unit_of_work(engine) as session:
            marked = objects.begin_removal(session)
        freed += _remove(engine, store, marked)
    return freed


def _any(engine: Engine) -> bool:
    with read_only(engine) as session:
        return objects.any_to_remove(session)


def find_orphans(engine: Engine, store: Store, older: timedelta) -> Orphans:
    """What `sweep_orphans` would delete."""
    count = size = 0
    for found in _orphans(engine, store, older):
        count, size = count + len(found), size + sum(found.values())
    return Orphans(count, size)


def sweep_orphans(engine: Engine, store: Store, older: timedelta) -> Orphans:
    """Delete objects that no table knows and that were written longer ago than `older`, and what is half written.

    Their writers died between storing and registering them, or waited longer than that for the database: those store
    them again.
    """
    recheck(engine, store)
    count = 0
    size = store.sweep(datetime.now(UTC) - older)
    for found in _orphans(engine, store, older):
        with unit_of_work(engine) as session:
            marked = objects.begin_orphans(session, found)
        count, size = count + len(marked), size + _remove(engine, store, marked)
    if count:
        _log.warning("%d objects of %d bytes that no table knows were deleted from the store", count, size)
    return Orphans(count, size)


def recheck(engine: Engine, store: Store) -> int:
    """Read again what was found damaged; how many are as they should be, and counted as damaged no more."""
    with read_only(engine) as session:
        keys = [row.key for row in objects.list_damaged(session)]
    mended = [key for key in keys if _is_sound(store, key)]
    for key in mended:
        with unit_of_work(engine) as session:
            objects.mend(session, key)
    return len(mended)


def _is_sound(store: Store, key: str) -> bool:
    hasher = hashlib.sha256()
    try:
        for chunk in store.open_range(key):
            hasher.update(chunk)
    except StoreError:
        return False
    return key_of(hasher.hexdigest()) == key


def _orphans(engine: Engine, store: Store, older: timedelta) -> Iterator[dict[str, int]]:
    before = datetime.now(UTC) - older
    entries = (entry for entry in store.entries() if entry.written_at < before)
    while page := list(islice(entries, _PAGE)):
        yield _unknown(engine, page)


def _unknown(engine: Engine, page: list[Entry]) -> dict[str, int]:
    with read_only(engine) as session:
        unknown = objects.unknown(session, [entry.key for entry in page])
    return {entry.key: entry.bytes for entry in page if entry.key in unknown}


def _remove(engine: Engine, store: Store, marked: dict[str, int]) -> int:
    """Delete what was marked, and forget it; the bytes freed. What cannot be deleted now is a later round's."""
    until, gone = time.monotonic() + PATIENCE, set()
    try:
        for key in marked:
            # A process that slept must not delete what another has stored anew meanwhile.
            if time.monotonic() > until:
                raise StoreError("deleting takes too long: the rest is left to a later round")
            store.delete(key)
            gone.add(key)
    finally:
        if gone:
            with unit_of_work(engine) as session:
                objects.end_removal(session, gone)
    return sum(marked.values())
