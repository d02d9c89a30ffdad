"""The files of a data set version as columns: what every process of a job reads, as lean as it can be.

It is built file by file (`TableBuilder`, `tabulate`). A long one lies in unnamed files that are mapped into memory, so
that its pages come and go as they are needed and loader processes map the same ones instead of copies.
"""

import hashlib
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from detco_core.contract.datasets import DatasetFile
from detco_core.data.mapped import Growing, Span

LABEL, SPLIT = 4, 5
"""Columns of `FileTable.facts`."""
_NUMBERS = struct.Struct("=7q")
_SPOT = struct.Struct("=2q")


class Member(NamedTuple):
    """What it takes to find one image's bytes."""

    path: str
    """Relative, with forward slashes."""
    container: str | None = None
    position: int = 0
    bytes: int = 0
    """0: unknown."""


@dataclass(frozen=True, slots=True, eq=False)
class FileTable:
    """The files of a manifest as columns: 56 bytes a file and its path, and 16 more in a container; no Python object
    for each.
    """

    names: Span
    """All paths, UTF-8, one after the other."""
    numbers: Span
    """int64 [n, 7]: where the path ends in `names`, then `facts`."""
    words: tuple[str | None, ...]
    """None, then every label, split and container there is."""
    containers: Span | None = None
    """int64 [n, 2], as `spots`."""

    def __len__(self) -> int:
        return len(self.numbers.view) // _NUMBERS.size

    @property
    def ends(self) -> NDArray[np.int64]:
        """[n]: where each path ends in `names`."""
        return _columns(self.numbers, 7)[:, 0]

    @property
    def facts(self) -> NDArray[np.int64]:
        """[n, 6]: bytes, width, height, channels, and where in `words` the label and the split are."""
        return _columns(self.numbers, 7)[:, 1:]

    @property
    def spots(self) -> NDArray[np.int64] | None:
        """[n, 2]: where in `words` the container is, and the position in it; None when every image is a file of its
        own.
        """
        return None if self.containers is None else _columns(self.containers, 2)

    def path(self, index: int) -> str:
        """Relative path of file `index`."""
        ends = self.ends
        start = int(ends[index - 1]) if index else 0
        return bytes(self.names.view[start : int(ends[index])]).decode("utf-8")

    def member(self, index: int) -> Member:
        """Where the bytes of file `index` are."""
        path, size = self.path(index), int(self.facts[index, 0])
        if (spots := self.spots) is None:
            return Member(path, bytes=size)
        container, position = spots[index].tolist()
        return Member(path, self.words[container], position, size)

    def file(self, index: int) -> DatasetFile:
        """The whole line of file `index`."""
        size, width, height, channels, label, split = self.facts[index].tolist()
        member = self.member(index)
        return DatasetFile(
            path=member.path,
            bytes=size,
            width=width,
            height=height,
            channels=channels,
            label=self.words[label],
            split=self.words[split],
            container=member.container,
            position=None if member.container is None else member.position,
        )

    def digest(self) -> str:
        """Of which files there are, in their order, and all that is known of them."""
        found = hashlib.sha256(repr(self.words).encode())
        for columns in (self.names, self.numbers, self.containers):
            found.update(b"" if columns is None else columns.view)
        return "sha256:" + found.hexdigest()

    def places(self, split: str) -> NDArray[np.int64]:
        """Where the files of `split` are, in order."""
        word = self.words.index(split) if split in self.words else -1
        return np.flatnonzero(self.facts[:, SPLIT] == word)

    def labels(self) -> tuple[str, ...]:
        """Every label there is, sorted."""
        return tuple(sorted(label for label in self.count(LABEL) if label is not None))

    def count(self, column: int) -> dict[str | None, int]:
        """How many files have each word of a column, `LABEL` or `SPLIT`."""
        numbers = np.bincount(self.facts[:, column], minlength=len(self.words)).tolist()
        return {word: number for word, number in zip(self.words, numbers, strict=True) if number}

    def classes(self, places: NDArray[np.int64], labels: Sequence[str]) -> NDArray[np.int64]:
        """For the labelled files at `places`, where in `labels` each one's label is."""
        rank = {label: n for n, label in enumerate(labels)}
        by_word = np.array([rank.get(word or "", -1) for word in self.words], dtype=np.int64)
        found: NDArray[np.int64] = by_word[self.facts[places, LABEL]]
        return found


class TableBuilder:
    """A table to which files are added one by one; in memory as long as it is short, then in unnamed files."""

    def __init__(self, folder: Path | None = None) -> None:
        """`folder` is where those files lie; None: where temporary files do."""
        self._names, self._numbers, self._spots = (Growing(folder) for _ in range(3))
        self._words: dict[str | None, int] = {None: 0}
        self._count = self._end = 0
        self._has_spots = False

    def __len__(self) -> int:
        return self._count

    def add(self, file: DatasetFile) -> None:
        """Append a file."""
        name = file.path.encode("utf-8")
        self._end += len(name)
        self._names.add(name)
        label, split = self._word(file.label), self._word(file.split)
        self._numbers.add(
            _NUMBERS.pack(self._end, file.bytes, file.width, file.height, file.channels, label, split),
        )
        if file.container is not None and not self._has_spots:
            self._has_spots = True
            self._spots.skip(self._count * _SPOT.size)
        if self._has_spots:
            self._spots.add(_SPOT.pack(self._word(file.container), file.position or 0))
        self._count += 1

    def table(self) -> FileTable:
        """What was added; to be called once."""
        spots = self._spots.whole() if self._has_spots else None
        return FileTable(self._names.whole(), self._numbers.whole(), tuple(self._words), spots)

    def _word(self, text: str | None) -> int:
        return self._words.setdefault(text, len(self._words))


def tabulate(files: Iterable[DatasetFile], folder: Path | None = None) -> FileTable:
    """Put files into a table, in their order; `folder` as `TableBuilder`."""
    builder = TableBuilder(folder)
    for file in files:
        builder.add(file)
    return builder.table()


def _columns(span: Span, count: int) -> NDArray[np.int64]:
    return np.frombuffer(span.view, dtype=np.int64).reshape(-1, count)
