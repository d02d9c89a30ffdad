"""Data sets in S3, read through this host's cache.

An object is what it was in the listing only while it has the size and time of change it had there; one written to since
is not read. A shard, or a folder of saved rows, is brought to this host whole, and its name in the manifest carries
what it was.
"""

import hashlib
import posixpath
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from io import BytesIO
from itertools import islice
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO, TypeVar

from detco_core.contract.datasets import (
    IMAGE_SUFFIXES,
    LIST_SUFFIX,
    OBJECT,
    REMOTE,
    ROWS_SUFFIXES,
    SHARD_SUFFIX,
    DatasetFile,
    ObjectCache,
)
from detco_core.contract.errors import DataError
from detco_core.data import objects
from detco_core.data.ahead import ahead
from detco_core.data.container_cache import Brought, Part
from detco_core.data.file_table import Member
from detco_core.data.locations import Allowed, Follow
from detco_core.data.manifest import stays_inside
from detco_core.data.object_cache import Kept
from detco_core.data.objects import Object, is_remote, look_at
from detco_core.data.sources import MAX_BYTES, Bytes, Lost, Unreachable, excluded, unnamed
from detco_core.data.spill import BrokenFiles

T = TypeVar("T")

_THREADS = 16
"""Objects that a list names are looked at so many at a time."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """A prefix, or a list or shard, of S3 (`Location`)."""

    root: str
    """`s3://BUCKET/PREFIX`; one that ends as lists and shards do is an object."""
    cache: ObjectCache | None = None
    """None: every read of an image goes to the store, and shards and rows cannot be read."""

    def __str__(self) -> str:
        return self.root

    @property
    def name(self) -> str:
        return self.root.rstrip("/").rpartition("/")[2]

    def is_there(self) -> bool:
        return True

    def is_file(self) -> bool:
        return self.root.lower().endswith((LIST_SUFFIX, SHARD_SUFFIX))

    def has_file(self, path: str) -> bool:
        try:
            return bool(look_at(self._bucket, self._key(path)))
        except Lost:
            return False

    def has_folder(self, path: str) -> bool:
        if self.is_file():
            return False
        prefix = self._prefix if path == "." else f"{self._key(path)}/"
        return any(True for _ in islice(objects.listed(self._bucket, prefix, page=1), 1))

    @contextmanager
    def text(self, path: str = "") -> Iterator[BinaryIO]:
        found = look_at(self._bucket, self._key(path) if path else objects.split(self.root)[1])
        if found.bytes > MAX_BYTES:
            raise DataError(f"{self.root} has {found.bytes} bytes, more than the limit of {MAX_BYTES}")
        with TemporaryFile(prefix="detco-") as file:
            objects.copy(self._bucket, found, file)
            file.seek(0)
            yield file

    def images(self, exclude: Sequence[str], unusable: BrokenFiles) -> Iterator[DatasetFile]:
        """Names with a part that is hidden are left out; the store lists them in order."""
        for found in objects.listed(self._bucket, self._prefix):
            path = found.key[len(self._prefix) :]
            parts = path.split("/")
            if not path.lower().endswith(IMAGE_SUFFIXES) or any(part.startswith(".") for part in parts if part != ".."):
                continue
            if "" in parts or not stays_inside(path) or "\0" in path:
                unusable.append(path or "/", "the name leaves the prefix, or has an empty part")
            elif not excluded(path, exclude):
                yield _file(path, found)

    def open(self, member: Member) -> Bytes:
        return self._read(member, self._bucket, self._prefix + member.path)

    def follower(self, allowed: Allowed) -> Follow:
        return partial(_follow, base=self._base, roots=None if allowed is None else (self._base, *allowed))

    def look_up(self, named: Iterable[tuple[str, int]]) -> Iterator[tuple[int, DatasetFile | str]]:
        return ahead(self._look_up, named, _THREADS)

    def open_named(self, member: Member, allowed: Allowed) -> Bytes:
        place = member.path if is_remote(member.path) else f"{self._base}/{member.path}"
        if allowed is not None and not _is_in(place, (self._base, *allowed)):
            raise DataError("it leads out of the data set's root")
        return self._read(member, *objects.split(place))

    def names(self, suffix: str) -> list[str]:
        if self.is_file():
            return [self.name]
        keys = (found.key for found in objects.listed(self._bucket, self._prefix, deep=False))
        names = (key[len(self._prefix) :] for key in keys if key.lower().endswith(suffix))
        return [name for name in names if not name.startswith(".")]

    def container(self, name: str) -> str:
        return _called(name, self._parts(name))

    def name_of(self, container: str | None) -> str | None:
        return (container or OBJECT).rpartition("@")[0] or None

    def using(self, container: str, use: Callable[[Path], T]) -> T:
        name = self.name_of(container)
        if self.cache is None:
            message = f"{self.root}: shards and saved rows in S3 are read from a cache on this host: give the job one"
            raise DataError(f'{message}, "cache": {{"folder": ..., "max_bytes": ...}}')
        try:
            return Brought(self.cache, self.root).using(container, partial(self._wanted, container), use)
        except OSError as error:
            raise Unreachable(f"{name} cannot be kept on this host: {error.strerror}") from error

    @property
    def _bucket(self) -> str:
        return objects.split(self.root)[0]

    @property
    def _base(self) -> str:
        """What paths are relative to."""
        root = self.root.rstrip("/")
        return root.rpartition("/")[0] if self.is_file() else root

    @property
    def _prefix(self) -> str:
        """Empty, or ends in a slash."""
        prefix = objects.split(self._base)[1]
        return f"{prefix}/" if prefix else ""

    def _key(self, path: str) -> str:
        return (self._prefix + ("" if path == "." else path)).rstrip("/")

    def _look_up(self, named: tuple[str, int]) -> tuple[int, DatasetFile | str]:
        path, line = named
        place = path if is_remote(path) else f"{self._base}/{path}"
        try:
            return line, _file(path, look_at(*objects.split(place)))
        except Lost as error:
            return line, str(error)

    def _read(self, member: Member, bucket: str, key: str) -> Bytes:
        if member.bytes > MAX_BYTES:
            raise DataError(f"{member.bytes} bytes, more than the limit of {MAX_BYTES}")
        name = f"{member.path}\0{member.bytes}\0{member.position}"
        kept = None if self.cache is None else Kept(self.cache, self.root)
        data = None if kept is None else kept.get(name)
        if data is None:
            data = objects.again(partial(_fetch, member, bucket, key))
            if kept is not None:
                kept.put(name, data)
        return BytesIO(data)

    def _parts(self, name: str) -> list[Object]:
        """The objects that a container is: one shard, or what lies directly in a folder of rows.

        Raises:
            Lost: there are none.
        """
        key = self._key(name)
        if name.lower().endswith(SHARD_SUFFIX):
            return [look_at(self._bucket, key)]
        folder = f"{key}/" if key else ""
        found = objects.listed(self._bucket, folder, deep=False)
        parts = [part for part in found if part.key.endswith(ROWS_SUFFIXES) and not part.key.startswith(f"{folder}.")]
        if not parts:
            raise Lost(f"{REMOTE}{self._bucket}/{folder} holds no saved rows")
        return parts

    def _wanted(self, container: str) -> list[Part]:
        """The parts of a container, each with how it is fetched; raises `Lost` when they are not what they were."""
        name = self.name_of(container) or ""
        found = self._parts(name)
        if _called(name, found) != container:
            raise Lost(f"{name} was written to since it was scanned")
        inner = len(self._key(name)) + 1 if self._key(name) else 0
        return [Part(part.key[inner:], part.bytes, partial(objects.copy, self._bucket, part)) for part in found]


def _file(path: str, found: Object) -> DatasetFile:
    return replace(unnamed(path), bytes=found.bytes, container=OBJECT, position=found.written)


def _fetch(member: Member, bucket: str, key: str) -> bytes:
    with objects.opened(bucket, key) as (found, chunks):
        if (found.bytes, found.written) != (member.bytes, member.position):
            raise Lost("it was written to since it was scanned")
        return b"".join(chunks)


def _called(name: str, parts: Sequence[Object]) -> str:
    print_ = hashlib.sha256("".join(f"{part.key}\0{part.bytes}\0{part.tag}\0" for part in parts).encode())
    return f"{name}@{print_.hexdigest()[:32]}"


def _follow(line: str, base: str, roots: Allowed) -> tuple[str, str | None]:
    place = line if is_remote(line) else f"{base}/{line}"
    bucket, key = objects.split(place)
    parts = key.split("/")
    if not bucket or "" in parts or (is_remote(line) and {".", ".."} & set(parts)):
        return "", f"{line[:200]!r} is neither relative to the list nor s3://BUCKET/KEY"
    key = posixpath.normpath(key)
    place = f"{REMOTE}{bucket}/{key}"
    if f"{key}/".startswith("../") or (roots is not None and not _is_in(place, roots)):
        where = "" if roots is None else f": {', '.join(dict.fromkeys(roots))}"
        return "", f"{line[:200]!r} is outside of where data may lie{where}"
    return (place.removeprefix(f"{base}/"), None)


def _is_in(place: str, roots: Sequence[str]) -> bool:
    return any(f"{place}/".startswith(f"{root.rstrip('/')}/") for root in roots)
