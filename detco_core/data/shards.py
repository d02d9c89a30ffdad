"""Images in tar shards laid out for WebDataset: the index keeps where each one starts.

Shards are not streamed: an epoch's order is a permutation of all images, whatever shard they are in, so that it can be
continued from any step (docs/decisions/056-sources.md).
"""

import re
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from detco_core.contract.datasets import IMAGE_SUFFIXES, SHARD_SUFFIX, DatasetFile
from detco_core.contract.errors import DataError
from detco_core.data.file_table import Member
from detco_core.data.locations import Location
from detco_core.data.manifest import stays_inside
from detco_core.data.sources import MAX_BYTES, Bytes, Listing, Lost, as_text, excluded, not_installed, unnamed
from detco_core.data.spill import BrokenFiles, in_order

MAX_HEADER = 2**20
"""Bytes of a header: names and attributes of one member."""
META = re.compile(r"__[^/]*__($|/)")
"""Members that describe the shard itself; WebDataset skips them."""


@dataclass(frozen=True, slots=True)
class Shards:
    """The images of one `.tar`, or of all that lie directly in a root; one image a sample."""

    at: Location

    def listing(self, exclude: Sequence[str] = ()) -> Listing:
        """As `Source`; `bytes` are known from the shard. An image's path is the shard's and its name in the shard."""
        unusable = BrokenFiles()
        return Listing(self._members(exclude, unusable), unusable)

    def open(self, member: Member) -> Bytes:
        if member.bytes > MAX_BYTES:
            raise DataError(f"{member.bytes} bytes, more than the limit of {MAX_BYTES}")
        name = self.at.name_of(member.container)
        try:
            with self.at.using(member.container or "", _opened) as shard:
                shard.seek(member.position)
                data = shard.read(member.bytes)
        except OSError as error:
            raise DataError(f"{name}: {error.strerror}") from error
        if len(data) < member.bytes:
            raise DataError(f"{name} ends before the image does: scan the data set again")
        return BytesIO(data)

    def names(self, exclude: Sequence[str] = ()) -> list[str]:
        """The shards, relative to where they lie, in the order of their members' paths."""
        names = self.at.names(SHARD_SUFFIX)
        if self.at.is_file():
            return names
        return sorted((name for name in names if not excluded(name, exclude)), key=lambda name: f"{name}/")

    def _members(self, exclude: Sequence[str], unusable: BrokenFiles) -> Iterator[DatasetFile]:
        for name in self.names(exclude):
            try:
                container = self.at.container(name)
                shard = self.at.using(container, _opened)
            except Lost as error:
                unusable.append(name, str(error))
                continue
            with shard:
                found = index_shard(shard, name, unusable)
                wanted = ((file.path, file.position, file.bytes) for file in found if not excluded(file.path, exclude))
                listed = in_order(wanted)
            for path, position, size in listed:
                yield replace(unnamed(path), container=container, position=position, bytes=size)


def _opened(path: Path) -> BinaryIO:
    return path.open("rb", buffering=0)


def index_shard(shard: BinaryIO, name: str, unusable: BrokenFiles) -> Iterator[DatasetFile]:
    """Where each image of an open shard is; `name` is the shard's path in the data set.

    Samples are those `webdataset` makes: neighbours whose names agree up to the first dot of the file name. Of a sample
    with a plain image (`1.jpg` beside `1.mask.png`) that one is taken, else all of its images (`a.1.jpg`, `a.2.jpg`).
    """
    try:
        from webdataset.tariterators import group_by_keys
    except ImportError as error:
        raise not_installed("tar shards", "webdataset", "core") from error

    def note(error: Exception) -> bool:
        unusable.append(name, str(error.args[0]))
        return True

    members = ({"fname": info.name, "data": info, "__url__": name} for info in _headers(shard, name, unusable))
    for sample in group_by_keys(members, handler=note):
        for info in _images_of(sample):
            file = replace(unnamed(f"{name}/{info.name}"), bytes=info.size)
            yield replace(file, position=info.offset_data)


def _images_of(sample: dict[str, object]) -> list[tarfile.TarInfo]:
    images = {
        key: info
        for key, info in sample.items()
        if isinstance(info, tarfile.TarInfo) and f".{key}".endswith(IMAGE_SUFFIXES)
    }
    plain = [info for key, info in images.items() if f".{key}" in IMAGE_SUFFIXES]
    return plain[:1] or list(images.values())


def _headers(file: BinaryIO, name: str, unusable: BrokenFiles) -> Iterator[tarfile.TarInfo]:
    try:
        with tarfile.open(fileobj=_Bounded(file), mode="r:") as shard:  # type: ignore[call-overload]  # it is enough
            for info in shard:
                # A shard may have millions of members: none is kept, as `webdataset` does it.
                shard.members = []
                if info.isreg() and not META.match(info.name) and not _hidden(info.name):
                    reason = _unreadable(info)
                    if reason is None:
                        yield info
                    else:
                        unusable.append(as_text(f"{name}/{info.name}"), reason)
            if not _ended(file, shard.offset):
                unusable.append(name, "cut short or damaged: what follows is not read")
    except tarfile.TarError as error:
        reason = f"not a whole plain tar ({error}); a compressed one cannot be read in place: unpack it"
        unusable.append(name, reason)
    except OSError as error:
        unusable.append(name, error.strerror or str(error))
    except Exception as error:  # noqa: BLE001 - what the library raises for hostile headers has no end
        unusable.append(name, f"not a whole plain tar: {str(error) or type(error).__name__}")


class _Bounded:
    """A file whose headers are read, none of which takes more than the memory that its shard says."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int) -> bytes:
        if not 0 <= size <= MAX_HEADER:
            raise tarfile.ReadError(f"a header of {size} bytes")
        return self._file.read(size)


def _ended(file: BinaryIO, offset: int) -> bool:
    """Whether a tar ends at `offset` by its mark, an empty block: `tarfile` takes anything but a header for the end."""
    file.seek(offset)
    return file.read(tarfile.BLOCKSIZE) == tarfile.NUL * tarfile.BLOCKSIZE


def _hidden(name: str) -> bool:
    return any(part.startswith(".") for part in PurePosixPath(name).parts if part not in (".", ".."))


def _unreadable(info: tarfile.TarInfo) -> str | None:
    if info.issparse():
        return "a sparse member cannot be read in place"
    if info.name != as_text(info.name):
        return "the name is not UTF-8"
    if info.size > MAX_BYTES:
        return f"{info.size} bytes, more than the limit of {MAX_BYTES}"
    return None if stays_inside(info.name) else "the name leaves the shard"
