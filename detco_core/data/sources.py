"""The seam between a data set and the bytes of its images: files, lines of a list, members of tar shards, rows.

To add one: a class as `Source` describes, which reads through a `locations.Location`, and its line in
`catalog.find_source` and `catalog.source_of`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from io import BytesIO
from typing import NamedTuple, Protocol

from detco_core.contract.datasets import BrokenFile, DatasetFile
from detco_core.contract.errors import DataError
from detco_core.data.file_table import Member

Bytes = str | BytesIO
"""An image not decoded yet: the absolute path of its file, or its bytes."""
MAX_BYTES = 2**30
"""An image with more bytes, as it is stored in a container, is refused unread."""


class Lost(DataError):
    """What was listed or scanned is not there any more, or is not what it was."""


class Unreachable(DataError):
    """What may well be there cannot be had now: a scan ends, or its version would lack what an outage hid."""


class Listing(NamedTuple):
    """What a source holds, none of it opened yet."""

    files: Iterable[DatasetFile]
    """Sorted by path; what only decoding tells is 0."""
    unusable: Iterable[BrokenFile]
    """What cannot be listed, and why: folders that may not be read, lines that name no file, shards cut short. Complete
    once `files` has been gone through."""


class Source(Protocol):
    """One way in which the images of a data set are laid out. It travels to loader processes: no open files in it."""

    def listing(self, exclude: Sequence[str] = ()) -> Listing:
        """Find the images without opening any, but for those whose path matches a glob pattern (`*` matches `/` too).

        Raises:
            DataError: the root itself cannot be read.
        """
        ...

    def open(self, member: Member) -> Bytes:
        """Where the bytes of one image are; a function of `member` alone, in any process, in any order.

        Raises:
            DataError: with the reason alone, when they are not there any more.
        """
        ...


def unnamed(path: str) -> DatasetFile:
    """A file of which only the path is known."""
    return DatasetFile(path=path, bytes=0, width=0, height=0, channels=0)


def excluded(path: str, exclude: Sequence[str]) -> bool:
    """Whether one of the patterns matches the relative path."""
    return any(fnmatchcase(path, pattern) for pattern in exclude)


def as_text(path: str) -> str:
    """`path` with the bytes that are no UTF-8 written out, which the system hands over as lone surrogates."""
    return path.encode("utf-8", "backslashreplace").decode("utf-8")


def not_installed(what: str, package: str, extra: str) -> DataError:
    """The error of a reader whose library is missing."""
    return DataError(f"reading {what} needs the package {package}: pip install 'detco[{extra}]'")


@dataclass(frozen=True, slots=True)
class InMemory:
    """Images held as encoded bytes: the source for tests, and for data that never was on a disk."""

    images: Mapping[str, bytes]

    def listing(self, exclude: Sequence[str] = ()) -> Listing:
        return Listing([unnamed(path) for path in sorted(self.images) if not excluded(path, exclude)], ())

    def open(self, member: Member) -> Bytes:
        if member.path not in self.images:
            raise DataError("No such file or directory")
        return BytesIO(self.images[member.path])
