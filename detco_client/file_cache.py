"""Where the files of an extraction are read from: a folder, or a bounded cache of what a service has."""

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from detco_client.errors import ClientError, DigestMismatch

DEFAULT_BYTES = 20 * 2**30
_Stamp = tuple[int, int, int, int]
"""Of a file: inode, bytes, and when it and what is said of it were changed."""


class Files(Protocol):
    """Gives files that were checked."""

    def find(self, path: str, sha256: str | None) -> Path:
        """Where a file of this name and digest is (None: whatever it is); raises `ClientError`."""
        ...


@dataclass(frozen=True, slots=True)
class FolderFiles:
    """Files in a folder, as `download` leaves them, or a job that was run by hand."""

    folder: Path
    _known: dict[str, tuple[_Stamp, str]] = field(default_factory=dict)
    """The digest of each file as it was when it was last read."""

    def find(self, path: str, sha256: str | None) -> Path:
        """Raises `DigestMismatch` where the file is another. One that nobody has touched is not read again."""
        target = self.folder / Path(path).name
        try:
            found = self._digest(target)
        except OSError as error:
            raise ClientError(f"{target} cannot be read: {error.strerror}") from error
        if sha256 is not None and found != sha256:
            raise DigestMismatch(str(target), sha256, found)
        return target

    def _digest(self, target: Path) -> str:
        with target.open("rb") as file:
            about = os.fstat(file.fileno())
            stamp = (about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns)
            known = self._known.get(target.name)
            if known is None or known[0] != stamp:
                known = stamp, "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()
                self._known[target.name] = known
        return known[1]


@dataclass(frozen=True, slots=True)
class CachedFiles:
    """Files by digest in a cache that other readers may share."""

    folder: Path
    max_bytes: int
    fetch: Callable[[str, Path, str], None]
    """Brings the file of a name and digest to a path, checked, in one move."""

    def find(self, path: str, sha256: str | None) -> Path:
        """Fetches what is not there."""
        if sha256 is None:
            raise ClientError(f"{path} has no digest")
        target = self.folder / sha256.removeprefix("sha256:")
        with suppress(FileNotFoundError):
            os.utime(target)
            return target
        self.folder.mkdir(parents=True, exist_ok=True)
        self.fetch(path, target, sha256)
        self._make_room(target)
        return target

    def _make_room(self, newest: Path) -> None:
        """Delete the longest unused beyond the bound. Who has one of them open keeps what he reads."""
        kept = sorted(_files(self.folder))
        size = sum(one for _, one, _ in kept)
        for _, one, entry in kept:
            if size <= self.max_bytes or entry == newest:
                continue
            entry.unlink(missing_ok=True)
            size -= one


def _files(folder: Path) -> Iterator[tuple[float, int, Path]]:
    """When each was used last, and its bytes; other processes may be making room too."""
    for entry in folder.iterdir():
        with suppress(FileNotFoundError):
            found = entry.stat()
            if stat.S_ISREG(found.st_mode):
                yield found.st_mtime, found.st_size, entry
