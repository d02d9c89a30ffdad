"""Files that are there whole or not at all, digested as they are written."""

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from detco_core.contract.extractions.files import StoredFile

_DRAFT = ".tmp"


class Writing:
    """A file that is written once, from its start: what is asked of it by us and by pyarrow."""

    closed = False

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.digest = hashlib.sha256()
        self.size = 0

    def write(self, data: Any) -> int:
        """Bytes, or a buffer of one dimension."""
        size = memoryview(data).nbytes
        self._file.write(data)
        self.digest.update(data)
        self.size += size
        return size

    def tell(self) -> int:
        return self.size

    def flush(self) -> None:
        self._file.flush()

    def writable(self) -> bool:
        return True

    def readable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return False

    def close(self) -> None:
        """Left open: whoever opened the file closes it."""


def stored(path: Path, write: Callable[[Writing], Any]) -> StoredFile:
    """Have `path` written beside its place, synced and renamed; its size and digest."""
    with _replacing(path) as file:
        writing = Writing(file)
        write(writing)
    return StoredFile(path=path.name, bytes=writing.size, sha256=f"sha256:{writing.digest.hexdigest()}")


def stored_text(path: Path, text: str) -> StoredFile:
    """The same of a text, as UTF-8."""
    return stored(path, lambda file: file.write(text.encode()))


def describe(path: Path) -> StoredFile:
    """A file that is there."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return StoredFile(path=path.name, bytes=path.stat().st_size, sha256=f"sha256:{digest}")


def forget_drafts(folder: Path) -> None:
    """Remove what processes that were killed had not finished: a shard may be gigabytes."""
    for draft in folder.glob(f".*{_DRAFT}"):
        draft.unlink()


@contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    temporary = path.with_name(f".{path.name}.{os.getpid()}{_DRAFT}")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
