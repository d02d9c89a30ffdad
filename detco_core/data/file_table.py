"""The file manifest of a data set version: written once by the scan, read by every job, held lean in memory.

Its format is in `detco_core.contract.datasets`.
"""

import hashlib
import json
import operator
import os
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from detco_core.contract.datasets import DatasetFile
from detco_core.contract.errors import DataError
from detco_core.contract.reader import canonical_json, plain

MAX_LINE = 16_384
"""Bytes of one line; longer ones are no manifest of ours."""
LABEL, SPLIT = 4, 5
"""Columns of `FileTable.facts`."""


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
    """The files of a manifest as columns: about 60 bytes a file and 16 more in a container; no Python object for each.

    A million files cost as little in each loader process, and pages shared with a parent process stay shared, since
    reading them touches no reference count.
    """

    names: bytes
    """All paths, UTF-8, one after the other."""
    ends: NDArray[np.int64]
    """[n]: where each path ends in `names`."""
    facts: NDArray[np.int64]
    """[n, 6]: bytes, width, height, channels, and where in `words` the label and the split are."""
    words: tuple[str | None, ...]
    """None, then every label, split and container there is."""
    spots: NDArray[np.int64] | None = None
    """[n, 2]: where in `words` the container is, and the position in it; None when every image is a file of its own."""

    def __len__(self) -> int:
        return len(self.ends)

    def path(self, index: int) -> str:
        """Relative path of file `index`."""
        start = int(self.ends[index - 1]) if index else 0
        return self.names[start : int(self.ends[index])].decode("utf-8")

    def member(self, index: int) -> Member:
        """Where the bytes of file `index` are."""
        path, size = self.path(index), int(self.facts[index, 0])
        if self.spots is None:
            return Member(path, bytes=size)
        container, position = self.spots[index].tolist()
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

    def places(self, split: str) -> NDArray[np.int64]:
        """Where the files of `split` are, in order."""
        word = self.words.index(split) if split in self.words else -1
        return np.flatnonzero(self.facts[:, SPLIT] == word)

    def labels(self) -> tuple[str, ...]:
        """Every label there is, sorted."""
        used = (self.words[word] for word in np.unique(self.facts[:, LABEL]).tolist())
        return tuple(sorted(label for label in used if label is not None))

    def classes(self, places: NDArray[np.int64], labels: Sequence[str]) -> NDArray[np.int64]:
        """For the labelled files at `places`, where in `labels` each one's label is."""
        rank = {label: n for n, label in enumerate(labels)}
        by_word = np.array([rank.get(word or "", -1) for word in self.words], dtype=np.int64)
        found: NDArray[np.int64] = by_word[self.facts[places, LABEL]]
        return found


def tabulate(files: Iterable[DatasetFile]) -> FileTable:
    """Put files into a table, in their order."""
    names, ends, facts, spots = bytearray(), array("q"), array("q"), array("q")
    words: dict[str | None, int] = {None: 0}

    def word(text: str | None) -> int:
        return words.setdefault(text, len(words))

    for file in files:
        names += file.path.encode("utf-8")
        ends.append(len(names))
        facts.extend((file.bytes, file.width, file.height, file.channels, word(file.label), word(file.split)))
        if file.container is not None and not spots:
            spots.extend((0, 0) * (len(ends) - 1))
        if file.container is not None or spots:
            spots.extend((word(file.container), file.position or 0))
    where = _columns(spots, 2) if spots else None
    return FileTable(bytes(names), _columns(ends, 1)[:, 0], _columns(facts, 6), tuple(words), where)


def _columns(values: "array[int]", count: int) -> NDArray[np.int64]:
    return np.array(values, dtype=np.int64).reshape(-1, count)


def write_manifest(path: Path, files: Iterable[DatasetFile]) -> str:
    """Write the manifest, sorted by path, in one move; returns its digest `sha256:...`."""
    digest = hashlib.sha256()
    temporary = path.with_name(path.name + ".part")
    with temporary.open("wb") as out:
        for file in sorted(files, key=lambda file: file.path):
            line = _line(file)
            digest.update(line)
            out.write(line)
        out.flush()
        os.fsync(out.fileno())
    temporary.replace(path)
    return f"sha256:{digest.hexdigest()}"


def _line(file: DatasetFile) -> bytes:
    keys = plain(file)
    if file.container is None:
        del keys["container"], keys["position"]
    return canonical_json(keys).encode() + b"\n"


def read_manifest(path: Path, digest: str | None) -> FileTable:
    """Read a manifest whose digest is `digest` (None: not checked).

    Raises:
        DataError: when it cannot be read, was changed, or holds a line that is not one of ours.
    """
    try:
        with path.open("rb") as file:
            found = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
            if digest is not None and found != digest:
                raise DataError(
                    f"{path} was changed: its digest is {found}, expected {digest}; scan the data set again"
                )
            file.seek(0)
            return tabulate(_read_lines(path, iter(lambda: file.readline(MAX_LINE), b"")))
    except OSError as error:
        raise DataError(f"the file manifest {path} cannot be read: {error.strerror}") from error


def _read_lines(path: Path, lines: Iterator[bytes]) -> Iterator[DatasetFile]:
    for number, line in enumerate(lines, start=1):
        try:
            file = DatasetFile(**json.loads(line))
            _check(file)
        except (ValueError, TypeError) as error:
            raise DataError(f"{path}, line {number} is not a line of a file manifest: {error}") from error
        yield file


def _check(file: DatasetFile) -> None:
    # By hand, not by `contract.reader`: a million lines must not take a minute.
    for count in map(operator.index, (file.bytes, file.width, file.height, file.channels, file.position or 0)):
        if not 0 <= count < 2**63:
            raise ValueError(f"{count!r} is out of range")
    if not isinstance(file.path, str):
        raise ValueError("path must be text")
    if not all(word is None or isinstance(word, str) for word in (file.label, file.split, file.container)):
        raise ValueError("label, split and container must be text or null")
    if (file.container is None) != (file.position is None):
        raise ValueError("container and position go together")
    # An absolute path is a line of a file list, and followed there only: joined to a folder it stays below it.
    inside = stays_inside(file.path.lstrip("/") if file.container is None else file.path)
    if not inside or (file.container is not None and not stays_inside(file.container, ".")):
        raise ValueError(f"path {file.path!r} leaves the data set's root")


def stays_inside(path: str, *also: str) -> bool:
    """Whether a relative path names something below its root (or is one of `also`), whatever links may do."""
    parts = PurePosixPath(path).parts
    return path in also or (bool(parts) and parts[0] != "/" and ".." not in parts)
