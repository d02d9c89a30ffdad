"""Artifacts for people: verified before the first byte is given away, and damage remembered.

A file that was verified lately and has not changed since is not read twice. While it is sent it is open, so its
deletion meanwhile breaks no download.
"""

import logging
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from control.db.session import unit_of_work
from control.errors import ArtifactMissing, DigestMismatch
from control.records.store import objects
from control.storage.base import CHUNK, Store, key_of, verify
from control.storage.cache import Cache
from control.storage.local import LocalStore

_FRESH = 600.0
"""Seconds that a look at a file's bytes counts for: disks decay more slowly than they are asked."""
_REMEMBERED = 1000

_log = logging.getLogger(__name__)

_Seen = tuple[str, int, int, int]


@contextmanager
def watched(engine: Engine, key: str) -> Iterator[None]:
    """Remember the object as damaged when reading it in this block shows that it is; the error goes on."""
    try:
        yield
    except (ArtifactMissing, DigestMismatch) as error:
        _log.error("damage in the artifact store: %s", error)
        try:
            with unit_of_work(engine) as session:
                objects.report_damage(session, key, str(error))
        except SQLAlchemyError as unwritten:
            _log.warning("the damage of %s could not be written down: %s", key, unwritten)
        raise


@dataclass(frozen=True, slots=True)
class SoundFile:
    """A file that was verified."""

    path: Path
    size: int

    def read(self, start: int, end: int) -> Iterator[bytes]:
        """The bytes from `start` up to, not including, `end`."""
        with self.path.open("rb") as file:
            file.seek(start)
            while start < end and (chunk := file.read(min(CHUNK, end - start))):
                start += len(chunk)
                yield chunk


class ReadingRoom:
    """Finds artifacts of a store; those of a remote one are brought to this host's cache first."""

    def __init__(self, engine: Engine, store: Store, cache: Cache) -> None:
        self._engine = engine
        self._store = store
        self._cache = cache
        self._lock = threading.Lock()
        self._seen: OrderedDict[_Seen, float] = OrderedDict()
        """When each file, as it then was, had the right bytes."""

    def find(self, sha256: str) -> SoundFile:
        """The artifact of a digest.

        Raises:
            ArtifactMissing, DigestMismatch: it is lost or damaged, which is now known to all.
            StoreError: the store is away.
        """
        with watched(self._engine, key_of(sha256)):
            try:
                path = self._verified_path(sha256)
                return SoundFile(path, path.stat().st_size)
            except OSError as error:
                raise ArtifactMissing(f"the artifact {key_of(sha256)} cannot be read: {error}") from error

    def _verified_path(self, sha256: str) -> Path:
        local = self._store.folder if isinstance(self._store, LocalStore) else None
        path = (local or self._cache.folder) / key_of(sha256)
        if not self._is_fresh(path, sha256):
            if local is not None:
                verify(path, sha256)
            else:
                self._cache.get(sha256)
            self._remember(path, sha256)
        return path

    def _is_fresh(self, path: Path, sha256: str) -> bool:
        try:
            seen = _as_it_is(path, sha256)
        except FileNotFoundError:
            return False
        with self._lock:
            return time.monotonic() - self._seen.get(seen, -math.inf) < _FRESH

    def _remember(self, path: Path, sha256: str) -> None:
        seen = _as_it_is(path, sha256)
        with self._lock:
            self._seen[seen] = time.monotonic()
            while len(self._seen) > _REMEMBERED:
                self._seen.popitem(last=False)


def _as_it_is(path: Path, sha256: str) -> _Seen:
    """What changes when the file does."""
    status = path.stat()
    return (sha256, status.st_ino, status.st_size, status.st_mtime_ns)
