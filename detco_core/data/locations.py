"""Where a data set lies: on a disk of this machine, or in S3. How it is laid out there is another question (`Source`).

Every layout is read through this seam, so each works wherever data may lie, and a new place serves all of them.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO, Protocol, TypeVar

from detco_core.contract.datasets import DatasetFile
from detco_core.data.file_table import Member
from detco_core.data.sources import Bytes
from detco_core.data.spill import BrokenFiles

T = TypeVar("T")

Follow = Callable[[str], tuple[str, str | None]]
"""The path that a line of a list names, or why it names none."""
Allowed = tuple[str, ...] | None
"""Roots besides the list's own folder that its lines may lead into; None: anywhere."""


class Location(Protocol):
    """A root and what lies there. It travels to loader processes: no open files in it."""

    @property
    def name(self) -> str:
        """Last part of the root."""
        ...

    def is_there(self) -> bool:
        """Whether it can be seen from here; true where only reading tells."""
        ...

    def is_file(self) -> bool:
        """Whether the root is one file, a list or a shard: paths are then relative to what it lies in."""
        ...

    def has_file(self, path: str) -> bool: ...

    def has_folder(self, path: str) -> bool: ...

    def text(self, path: str = "") -> AbstractContextManager[BinaryIO]:
        """A file below the root, or the root itself, to be read from its beginning; raises `DataError`."""
        ...

    def images(self, exclude: Sequence[str], unusable: BrokenFiles) -> Iterator[DatasetFile]:
        """Files below the root whose names say they are images, by path; raises `DataError` when it cannot be read."""
        ...

    def open(self, member: Member) -> Bytes:
        """One of `images`; raises `DataError` when it is not what it was."""
        ...

    def follower(self, allowed: Allowed) -> Follow:
        """How the lines of the list that the root is are followed."""
        ...

    def look_up(self, named: Iterable[tuple[str, int]]) -> Iterator[tuple[int, DatasetFile | str]]:
        """Of the paths that lines name, each with its line's number, in their order: the file, or why it is none."""
        ...

    def open_named(self, member: Member, allowed: Allowed) -> Bytes:
        """A file that a line names; raises as `open`."""
        ...

    def names(self, suffix: str) -> list[str]:
        """Files directly in the root that end so, or the root when it is one file; raises `DataError`."""
        ...

    def container(self, name: str) -> str:
        """What the manifest calls a file or folder of many images: by its name, and where it can be told, by what it is
        now; raises `Lost`.
        """
        ...

    def name_of(self, container: str | None) -> str | None:
        """The name in `container`; None for an image that is a file of its own."""
        ...

    def using(self, container: str, use: Callable[[Path], T]) -> T:
        """What `use` makes of the container at a path of this machine, where it may lie only that long.

        Raises:
            Lost: it is gone, or not what it was.
            DataError: it cannot be brought to this machine.
        """
        ...
