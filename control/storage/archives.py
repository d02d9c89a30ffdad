"""Archives that strangers send: looked through before anything is done with them, unpacked to plain files only.

Nothing in an archive is trusted: no name leads out of the folder, there are no links, devices or holes, what is there
is counted against a bound while it is read, and no file is written twice.
"""

import bz2
import errno
import gzip
import lzma
import os
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple

from control.errors import BadArchive
from control.storage.base import CHUNK
from detco_core.contract.datasets import IMAGE_SUFFIXES, ROWS_MARKERS, SHARD_SUFFIX

MAX_FILES = 5_000_000
_MAX_READ = 1 << 26
"""Bytes of one read from a tar: more is a header that means harm."""
_MAX_NAME = 255
_COMPRESSED: dict[bytes, Callable[..., Any]] = {b"\x1f\x8b": gzip.open, b"BZ": bz2.open, b"\xfd7": lzma.open}

Source = IO[bytes]


@dataclass(frozen=True, kw_only=True, slots=True)
class Contents:
    """What is in an archive of a data set."""

    files: int
    bytes: int
    """Unpacked."""
    base: str
    """The one folder everything lies in, relative; empty when there is none."""
    images: int
    shards: int
    is_saved: bool
    """By Hugging Face `datasets`."""
    splits: tuple[str, ...]
    """Folders below `base` that hold CLASS/IMAGE."""


class Member(NamedTuple):
    """A file in an archive."""

    parts: tuple[str, ...]
    """Of its path."""
    bytes: int
    open: "Callable[[], Source | None]"
    """To be called before the next member is asked for."""


def survey(path: Path, most_bytes: int) -> Contents:
    """Look through an archive without writing anything.

    Raises:
        BadArchive: it is neither a tar (plain, gzip, bzip2, xz) nor a zip, is damaged, holds what is not taken, or more
            than `most_bytes` unpacked.
    """
    files = size = images = shards = 0
    base: tuple[str, ...] | None = None
    folders: set[tuple[str, ...]] = set()
    markers: set[tuple[str, ...]] = set()
    for member in members(path, most_bytes):
        files, size = files + 1, size + member.bytes
        folder, name = member.parts[:-1], member.parts[-1].lower()
        base = folder[:1] if base is None or base == folder[:1] else ()
        if name.endswith(IMAGE_SUFFIXES) and not name.startswith("."):
            images += 1
            # Only the first folders say how a data set is laid out.
            folders.add(folder[:3])
        shards += name.endswith(SHARD_SUFFIX)
        if name in ROWS_MARKERS:
            markers.add(folder)
    base = base or ()
    return Contents(
        files=files,
        bytes=size,
        base="/".join(base),
        images=images,
        shards=shards,
        is_saved=base in markers,
        splits=tuple(sorted({f[len(base)] for f in folders if f[: len(base)] == base and len(f) >= len(base) + 2})),
    )


def unpack(path: Path, folder: Path, most_bytes: int) -> None:
    """Write the files of an archive below `folder`, which must be there and empty; raises as `survey`."""
    for member in members(path, most_bytes):
        target = folder.joinpath(*member.parts)
        with _legible():
            source = member.open()
        if source is None:
            raise BadArchive(f"{'/'.join(member.parts)} cannot be read")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
        except (FileExistsError, NotADirectoryError) as error:
            raise BadArchive(f"{'/'.join(member.parts)} is there twice") from error
        with source, os.fdopen(descriptor, "wb") as out, _legible():
            _copy(source, out, member)


def _copy(source: IO[bytes], out: IO[bytes], member: Member) -> None:
    left = member.bytes
    while left > 0 and (chunk := source.read(min(CHUNK, left))):
        out.write(chunk)
        left -= len(chunk)
    if left:
        raise BadArchive(f"{'/'.join(member.parts)} is cut short")


def members(path: Path, most_bytes: int) -> Iterator[Member]:
    """The files of an archive, each checked; raises as `survey`."""
    found = _of_zip(path) if zipfile.is_zipfile(path) and not _is_tar(path) else _of_tar(path, most_bytes)
    count = size = 0
    with _legible():
        for member in found:
            count, size = count + 1, size + member.bytes
            if size > most_bytes:
                raise BadArchive(f"more than {most_bytes} bytes unpacked, the most that is taken")
            if count > MAX_FILES:
                raise BadArchive(f"more than {MAX_FILES} files, the most that is taken")
            yield member


def _of_tar(path: Path, most_bytes: int) -> Iterator[Member]:
    with path.open("rb") as raw:
        opener = _COMPRESSED.get(raw.read(2))
        raw.seek(0)
        source = _Bounded(opener(raw) if opener else raw, 2 * most_bytes)
        with tarfile.open(fileobj=source, mode="r:") as archive:  # type: ignore[call-overload]  # `_Bounded` is enough
            for info in archive:
                archive.members = []  # there may be millions
                if info.isdir():
                    continue
                if not info.isreg() or info.issparse():
                    raise BadArchive(
                        f"{_shown(info.name)} is no plain file: links, devices and sparse files are not taken"
                    )
                yield Member(_parts(info.name), info.size, lambda info=info: archive.extractfile(info))  # type: ignore[misc]  # a lambda's default
            if opener is None:
                _require_end(raw, archive.offset)


def _require_end(raw: Source, offset: int) -> None:
    """A tar ends with an empty block; the library takes anything but a header for the end. Compressors see for
    themselves.
    """
    raw.seek(offset)
    if raw.read(tarfile.BLOCKSIZE) != tarfile.NUL * tarfile.BLOCKSIZE:
        raise BadArchive("not a whole tar or zip: cut short or damaged")


def _of_zip(path: Path) -> Iterator[Member]:
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            mode = info.external_attr >> 16
            if info.is_dir():
                continue
            if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
                raise BadArchive(f"{_shown(info.filename)} is no plain file: links and devices are not taken")
            if info.flag_bits & 1:
                raise BadArchive(f"{_shown(info.filename)} is encrypted")
            # The library cuts a name at a NUL and turns backslashes on Windows: look at what was written.
            yield Member(_parts(info.orig_filename), info.file_size, lambda info=info: archive.open(info))  # type: ignore[misc]  # a lambda's default


def _parts(name: str) -> tuple[str, ...]:
    parts = tuple(part for part in name.split("/") if part not in ("", "."))
    if not parts or name.startswith("/") or ".." in parts or "\0" in name or "\\" in name:
        raise BadArchive(f"{_shown(name)} does not name a file below the archive's own folder")
    if any(len(part.encode("utf-8", "replace")) > _MAX_NAME for part in parts) or len(name) > 4 * _MAX_NAME:
        raise BadArchive(f"{_shown(name)} is too long a name")
    if not name.isprintable() and any(ord(letter) < 32 or 0xD800 <= ord(letter) < 0xE000 for letter in name):
        raise BadArchive(f"{_shown(name)} is no name in UTF-8 without control characters")
    return parts


def _shown(name: str) -> str:
    return repr(name.encode("utf-8", "backslashreplace").decode("utf-8")[:200])


def _is_tar(path: Path) -> bool:
    """A plain tar may hold a zip at its end, where a zip is looked for."""
    with path.open("rb") as file:
        file.seek(257)
        return file.read(5) == b"ustar"


@contextmanager
def _legible() -> Iterator[None]:
    try:
        yield
    except BadArchive:
        raise
    except (
        Exception
    ) as error:  # what the libraries raise for hostile headers has no end: OverflowError, IndexError, ...
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):  # the disk's, not the archive's
            raise
        raise BadArchive(f"not a whole tar or zip: {str(error)[:200] or type(error).__name__}") from error


class _Bounded:
    """What a decompressor gives, as long as it is not more than it may be."""

    def __init__(self, source: IO[bytes], most: int) -> None:
        self._source = source
        self._most = most

    def read(self, count: int = -1) -> bytes:
        if not 0 <= count <= _MAX_READ:
            raise BadArchive("a header of it is larger than any archive needs")
        if self._source.tell() > self._most:
            raise BadArchive(f"more than {self._most} bytes unpacked, the most that is taken")
        return self._source.read(count)

    def seek(self, position: int) -> int:
        if position > self._most:
            raise BadArchive(f"more than {self._most} bytes unpacked, the most that is taken")
        return self._source.seek(position)

    def tell(self) -> int:
        return self._source.tell()

    def close(self) -> None:
        self._source.close()
