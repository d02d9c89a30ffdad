"""Artifacts in a folder of this machine, or one that all machines mount."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from control.errors import ArtifactMissing, DigestMismatch, StoreError, StoreFull
from control.storage.base import CHUNK, HALF_WRITTEN, Entry, is_key, key_of, place_verified, verify

_FULL = (errno.ENOSPC, errno.EDQUOT)


class LocalStore:
    """A `Store` in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, path: Path, sha256: str) -> str:
        key = key_of(sha256)
        if not self._holds(key, sha256):
            with path.open("rb") as source, _reachable():
                place_verified(iter(lambda: source.read(CHUNK), b""), self.folder / key, sha256)
        return key

    def fetch(self, key: str, dest: Path, sha256: str) -> None:
        place_verified(self.open_range(key), dest, sha256)

    def open_range(self, key: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        left = (self.size(key) if end is None else end) - start
        with _reachable(), (self.folder / key).open("rb") as file:
            file.seek(start)
            while left > 0 and (chunk := file.read(min(CHUNK, left))):
                left -= len(chunk)
                yield chunk

    def size(self, key: str) -> int:
        with _reachable():
            try:
                return (self.folder / key).stat().st_size
            except FileNotFoundError as error:
                raise ArtifactMissing(f"there is no artifact {key} in {self.folder}") from error

    def exists(self, key: str) -> bool:
        with _reachable():
            return (self.folder / key).is_file()

    def delete(self, key: str) -> None:
        with _reachable():
            (self.folder / key).unlink(missing_ok=True)

    def entries(self) -> Iterator[Entry]:
        for path in self._files():
            key = path.relative_to(self.folder).as_posix()
            try:
                status = path.stat()
            except FileNotFoundError:
                continue
            if is_key(key):
                yield Entry(key, status.st_size, datetime.fromtimestamp(status.st_mtime, UTC))

    def sweep(self, before: datetime) -> int:
        freed = 0
        for path in self._files():
            if path.name.startswith(HALF_WRITTEN) and path.stat().st_mtime < before.timestamp():
                freed += path.stat().st_size
                path.unlink(missing_ok=True)
        return freed

    def _files(self) -> Iterator[Path]:
        with _reachable():
            yield from self.folder.glob("sha256/??/*")

    def _holds(self, key: str, sha256: str) -> bool:
        """Whether it is there, byte for byte: one that was damaged is written again."""
        with _reachable():
            try:
                verify(self.folder / key, sha256)
            except (FileNotFoundError, DigestMismatch):
                return False
            return True


@contextmanager
def _reachable() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise StoreFull(f"there is no room in the artifact folder: {error}") from error
        raise StoreError(f"the artifact folder cannot be used: {error}") from error
