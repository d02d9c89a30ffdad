"""Artifacts in a folder of this machine, or one that all machines mount."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from control.errors import ArtifactMissing, StoreError
from control.storage.base import CHUNK, key_of, place_verified


class LocalStore:
    """A `Store` in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, path: Path, sha256: str) -> str:
        key = key_of(sha256)
        if not self._holds(key, path.stat().st_size):
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

    def _holds(self, key: str, size: int) -> bool:
        try:
            return self.size(key) == size
        except ArtifactMissing:
            return False


@contextmanager
def _reachable() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(f"the artifact folder cannot be used: {error}") from error
