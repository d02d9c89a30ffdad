"""The seam to the artifact store: files named by their content.

The key of a file is `sha256/ab/abcdef...`, so storing the same bytes twice is one file, and a reader can always tell
whether it got what was meant.
"""

import hashlib
import os
import re
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Protocol

from control.errors import DigestMismatch, StoreError

CHUNK = 1 << 20
"""Bytes read or written at once."""
HALF_WRITTEN = "."
"""Begins the names of files that are still being written."""
_HEX = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Entry:
    """An object of the store as its listing has it."""

    key: str
    bytes: int
    written_at: datetime
    """By the store's clock."""


class Store(Protocol):
    """Keeps files by content; every method raises `StoreError` when the store cannot be reached."""

    def put(self, path: Path, sha256: str) -> str:
        """Store the file under its digest and return its key; one that is there already is not written again.

        Raises:
            DigestMismatch: the file's bytes are not those of `sha256`; nothing is stored.
            StoreFull: there is no room for it.
        """

    def fetch(self, key: str, dest: Path, sha256: str) -> None:
        """Write the artifact to `dest`: complete and verified, or not at all.

        Raises:
            ArtifactMissing: there is no such key.
            DigestMismatch: what the store holds is damaged.
        """

    def open_range(self, key: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """The bytes from `start` up to, not including, `end` (None: to the last), in chunks; not verified.

        Raises:
            ArtifactMissing: with the first chunk; ask `size` before promising anything to anybody.
        """

    def size(self, key: str) -> int:
        """Bytes of the artifact; raises `ArtifactMissing`."""

    def exists(self, key: str) -> bool: ...

    def delete(self, key: str) -> None:
        """Remove the artifact; one that is not there is no error."""

    def entries(self) -> Iterator[Entry]:
        """Everything that is in the store, in any order, also what no table knows."""

    def sweep(self, before: datetime) -> int:
        """Remove what writers that were killed have left half written, last touched before a time; bytes freed."""


def key_of(sha256: str) -> str:
    """The key of a digest, with or without `sha256:` in front; raises `StoreError` when it is not a digest."""
    digest = sha256.removeprefix("sha256:")
    if not _HEX.fullmatch(digest):
        raise StoreError(f"{sha256[:80]!r} is not a sha256 digest: 64 lower-case hex digits")
    return f"sha256/{digest[:2]}/{digest}"


def is_key(text: str) -> bool:
    """Whether it is a key as `key_of` makes them."""
    head, slash, digest = text.rpartition("/")
    return bool(slash and _HEX.fullmatch(digest)) and head == f"sha256/{digest[:2]}"


def prefixed(sha256: str) -> str:
    """The digest with `sha256:` in front, as the tables hold it."""
    return f"sha256:{sha256.removeprefix('sha256:')}"


def file_digest(path: Path) -> str:
    """`sha256:...` of a file's bytes."""
    with path.open("rb") as file:
        return prefixed(hashlib.file_digest(file, "sha256").hexdigest())


def verify(path: Path, sha256: str) -> None:
    """Raise `DigestMismatch` unless the file has this digest."""
    actual = file_digest(path)
    if actual != prefixed(sha256):
        raise DigestMismatch(str(path), prefixed(sha256), actual)


def place_verified(chunks: Iterable[bytes], dest: Path, sha256: str) -> None:
    """Write chunks to `dest` by a temporary name, sync, compare the digest, rename: complete and right, or not at all.

    Raises:
        DigestMismatch: the bytes are others; `dest` is as it was.
    """
    dest.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=dest.parent, prefix=f"{HALF_WRITTEN}{dest.name[:40]}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            digest = _write(chunks, file)
        if digest != prefixed(sha256):
            raise DigestMismatch(str(dest), prefixed(sha256), digest)
        Path(temporary).replace(dest)
    finally:
        Path(temporary).unlink(missing_ok=True)
    _sync_folder(dest.parent)


def _write(chunks: Iterable[bytes], file: BinaryIO) -> str:
    hasher = hashlib.sha256()
    for chunk in chunks:
        hasher.update(chunk)
        file.write(chunk)
    file.flush()
    os.fsync(file.fileno())
    return prefixed(hasher.hexdigest())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
