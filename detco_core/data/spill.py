"""What may be as long as a data set and is not held in memory: records to be put in order, reports of broken files."""

import heapq
import pickle
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

from detco_core.contract.datasets import BrokenFile
from detco_core.data.mapped import Unnamed

Record = TypeVar("Record", bound=tuple[object, ...])

IN_MEMORY = 100_000
"""Records held at once; more are sorted part by part on disk."""
_BLOCK = 1000
"""Records written and read back at once."""

_Place = tuple[int, int]
"""Start and length of a block in its file."""


def in_order(records: Iterable[Record], most: int = IN_MEMORY) -> Iterator[Record]:
    """The records sorted, with no more than about `most` of them in memory.

    All are taken before this returns; those that do not fit wait in an unnamed file, which goes with the iterator.
    """
    coming = iter(records)
    part = sorted(islice(coming, most))
    if len(part) < most:
        return iter(part)
    file = Unnamed.make()
    parts: list[list[_Place]] = []
    while part:
        parts.append([_write(file, part[at : at + _BLOCK]) for at in range(0, len(part), _BLOCK)])
        part = sorted(islice(coming, most))
    return heapq.merge(*(_read(file, places) for places in parts))


def _write(file: Unnamed, block: list[Record]) -> _Place:
    data = pickle.dumps(block, pickle.HIGHEST_PROTOCOL)
    return file.append(data), len(data)


def _read(file: Unnamed, places: Iterable[_Place]) -> Iterator[Record]:
    for place in places:
        yield from pickle.loads(file.read(*place))  # noqa: S301 - what `_write` wrote, and no one else


class BrokenFiles:
    """A growing report of files that cannot be used; a long one lies on disk."""

    def __init__(self) -> None:
        self._newest: list[tuple[str, str]] = []
        self._file: Unnamed | None = None
        self._places: list[_Place] = []

    def append(self, path: str, reason: str) -> None:
        self._newest.append((path, reason))
        if len(self._newest) == _BLOCK:
            self._file = self._file or Unnamed.make()
            self._places.append(_write(self._file, self._newest))
            self._newest = []

    def __len__(self) -> int:
        return len(self._places) * _BLOCK + len(self._newest)

    def __iter__(self) -> Iterator[BrokenFile]:
        """In the order they were added."""
        return (BrokenFile(path=path, reason=reason) for path, reason in self._records())

    def by_path(self) -> Iterator[BrokenFile]:
        """Sorted by path."""
        return (BrokenFile(path=path, reason=reason) for path, reason in in_order(self._records()))

    def _records(self) -> Iterator[tuple[str, str]]:
        if self._file is not None:
            yield from _read(self._file, self._places)
        yield from self._newest
