"""Takes what an attempt's processes print from `log.txt` to the tables, and in larger pieces on to the store.

Rows first, since any host can read them at once and they are there when this one is not; the store when enough has come
together, and when the attempt has ended. What is in the store is given back to the disk (a hole in the file), so that
a talkative job fills neither.
"""

import ctypes
import hashlib
import logging
import os
import time
from collections.abc import Sequence
from concurrent.futures import Future, wait
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile

from sqlalchemy import Engine

from control.db.session import read_only, unit_of_work
from control.errors import ArtifactMissing, StoreError
from control.records.journal import logs
from control.records.journal.logs import Piece, Stretch
from control.storage.base import Store
from worker.background import in_background
from worker.launch import LOG_FILE
from worker.outages import DATABASE_AWAY, RETRY_SECONDS
from worker.processes import Mark

ROW_BYTES = 256 * 1024
"""At most in one row."""
PIECE_BYTES = 2**20
PIECE_ROWS = 512
"""What is worth a file in the store, whichever comes first."""
STAYS = 64 * 1024
"""Of the end of the file stays on the disk: for a person there, and for the attempt's last lines."""
_SLICE = 0.25
"""Seconds of one round; events come in between."""
_KEEP_SIZE_AND_PUNCH_HOLE = 0x03

_log = logging.getLogger(__name__)


class LogShipper:
    """One attempt's log on its way; `ship` does one round of it."""

    def __init__(self, engine: Engine, store: Store, mark: Mark, folder: Path, most: int) -> None:
        self._engine = engine
        self._store = store
        self._mark = mark
        self._rows = _Rows(engine, mark, folder, most)
        self._most = most
        self._sealing: Future[None] | None = None
        self._seal_not_before = 0.0

    def ship(self) -> bool:
        """Take what is new, for a moment at most; True when nothing is left to take.

        Raises:
            OperationalError, InterfaceError: the database is away; call again later.
        """
        deadline = time.monotonic() + _SLICE
        while time.monotonic() < deadline:
            if not self._rows.take():
                return True
            self._seal_when_due()
        return False

    def settle(self) -> None:
        """Wait for the piece that is on its way to the store."""
        if self._sealing is not None:
            wait([self._sealing])

    def seal(self) -> None:
        """Bring what is in rows to the store, once; what fails stays where it is, and is tried again by the upkeep."""
        self.settle()
        seal_loose(self._engine, self._store, self._mark, self._rows.path.parent)

    def _seal_when_due(self) -> None:
        if self._sealing is not None and self._sealing.done():
            self._hear(self._sealing.exception())
            self._sealing = None
        if self._sealing is None and self._rows.are_many and time.monotonic() >= self._seal_not_before:
            self._rows.forget()
            self._sealing = in_background(self._seal_and_rotate, "log")

    def _hear(self, error: BaseException | None) -> None:
        if isinstance(error, (StoreError, OSError, *DATABASE_AWAY)):
            _log.warning("%s: its log waits for the store: %s", self._mark.run, error)
            self._seal_not_before = time.monotonic() + RETRY_SECONDS
        elif error is not None:
            raise error

    def _seal_and_rotate(self) -> None:
        try:
            end = _seal_once(self._engine, self._store, self._mark, self._rows.path.parent)
            free(self._rows.path, end - STAYS)
        finally:  # also while the store is away, when the rows are what grows
            with unit_of_work(self._engine) as session:
                logs.rotate(session, *self._mark, self._most)


class _Rows:
    """Reads the file on and appends what is new to the tables, a row at a time."""

    def __init__(self, engine: Engine, mark: Mark, folder: Path, most: int) -> None:
        self.path = folder / LOG_FILE
        self._engine = engine
        self._mark = mark
        self._most = most
        self._end: int | None = None
        """How far the log is in the tables; None before it was asked."""
        self._bytes = self._count = 0

    @property
    def are_many(self) -> bool:
        """Whether what was taken is worth a file in the store."""
        return self._bytes >= PIECE_BYTES or self._count >= PIECE_ROWS

    def forget(self) -> None:
        """Count anew what is taken."""
        self._bytes = self._count = 0

    def take(self) -> bool:
        """The next row; False when there is nothing to take, or nobody to keep it for."""
        data = self._next()
        if not data or self._end is None:
            return False
        with unit_of_work(self._engine) as session:
            known = logs.append(session, *self._mark, self._end, data)
        self._end += len(data)
        self._bytes += len(data)
        self._count += 1
        return known

    def _next(self) -> bytes:
        if self._end is None:
            with read_only(self._engine) as session:
                self._end = logs.length(session, *self._mark)
        try:
            with self.path.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                if size - self._end > self._most:  # faster than we are: its beginning is kept, and now its end
                    self._end = size - self._most // 2
                file.seek(self._end)
                return file.read(ROW_BYTES)
        except FileNotFoundError:
            return b""


def ship_rest(engine: Engine, mark: Mark, folder: Path, most: int) -> None:
    """Take what a dead runner left of the log in the folder to the tables; again takes nothing twice."""
    rows = _Rows(engine, mark, folder, most)
    while rows.take():
        pass


def seal_ended(engine: Engine, store: Store, folder: Path) -> None:
    """Bring to the store what ended attempts have left in rows; what fails is tried the next time."""
    with read_only(engine) as session:
        marks = [Mark(*found) for found in logs.ended_with_loose(session)]
    for mark in marks:
        seal_loose(engine, store, mark, folder)


def seal_loose(engine: Engine, store: Store, mark: Mark, folder: Path) -> None:
    """All pieces of an attempt that are in rows, to the store; what fails stays where it is."""
    try:
        while _seal_once(engine, store, mark, folder):
            pass
    except (StoreError, OSError, *DATABASE_AWAY) as error:
        _log.warning("%s: the end of its log stays in the database for now: %s", mark.run, error)


def free(path: Path, end: int) -> None:
    """Give the bytes of a file before `end` back to the disk; what is written behind them stays where it is."""
    if end <= 0:
        return
    with suppress(OSError), path.open("r+b") as file:
        libc = ctypes.CDLL(None, use_errno=True)
        offsets = (ctypes.c_int64(0), ctypes.c_int64(end))
        if libc.fallocate(file.fileno(), _KEEP_SIZE_AND_PUNCH_HOLE, *offsets) != 0:
            _log.debug("%s keeps its beginning: this file system has no holes", path)


def _seal_once(engine: Engine, store: Store, mark: Mark, folder: Path) -> int:
    """The first loose pieces become one in the store; where it ends, 0 when there are none."""
    with read_only(engine) as session:
        found = logs.loose(session, *mark)
    if not found:
        return 0
    key = _put(store, folder, found)
    whole = Piece(found[0].start, sum(piece.size for piece in found), key)
    with unit_of_work(engine) as session:
        logs.seal(session, *mark, whole)  # else another was faster, and what there is now is looked at anew
        if not store.exists(key):  # deleted between its upload and now
            raise ArtifactMissing(f"{key} was deleted before it was registered")
    return whole.end


def _put(store: Store, folder: Path, found: Sequence[Stretch]) -> str:
    data = b"".join(piece.data or b"" for piece in found)
    with NamedTemporaryFile(dir=folder, prefix=".log-") as file:
        file.write(data)
        file.flush()
        return store.put(Path(file.name), hashlib.sha256(data).hexdigest())
