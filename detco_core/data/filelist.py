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

import numpy as np
from numpy.typing import NDArray

from detco_core.contract.datasets import DatasetFile
from detco_core.contract.errors import DataError
from detco_core.contract.reader import canonical_json

MAX_LINE = 16_384
"""Bytes of one line; longer ones are no manifest of ours."""
LABEL, SPLIT = 4, 5
"""Columns of `FileTable.facts`."""


@dataclass(frozen=True, slots=True, eq=False)
class FileTable:
    """The files of a manifest as columns: about 60 bytes a file, and no Python object for each.

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
    """None, then every label and split there is."""

    def __len__(self) -> int:
        return len(self.ends)

    def path(self, index: int) -> str:
        """Relative path of file `index`."""
        start = int(self.ends[index - 1]) if index else 0
        return self.names[start : int(self.ends[index])].decode("utf-8")

    def file(self, index: int) -> DatasetFile:
        """The whole line of file `index`."""
        size, width, height, channels, label, split = self.facts[index].tolist()
        return DatasetFile(
            path=self.path(index),
            bytes=size,
            width=width,
            height=height,
            channels=channels,
            label=self.words[label],
            split=self.words[split],
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
    names, ends, facts = bytearray(), array("q"), array("q")
    words: dict[str | None, int] = {None: 0}
    for file in files:
        names += file.path.encode("utf-8")
        ends.append(len(names))
        label, split = (words.setdefault(word, len(words)) for word in (file.label, file.split))
        facts.extend((file.bytes, file.width, file.height, file.channels, label, split))
    columns = np.frombuffer(facts, dtype=np.int64).reshape(-1, 6) if facts else np.zeros((0, 6), np.int64)
    return FileTable(bytes(names), np.frombuffer(ends, dtype=np.int64).copy(), columns.copy(), tuple(words))


def write_manifest(path: Path, files: Iterable[DatasetFile]) -> str:
    """Write the manifest, sorted by path, in one move; returns its digest `sha256:...`."""
    digest = hashlib.sha256()
    temporary = path.with_name(path.name + ".part")
    with temporary.open("wb") as out:
        for file in sorted(files, key=lambda file: file.path):
            line = canonical_json(file).encode() + b"\n"
            digest.update(line)
            out.write(line)
        out.flush()
        os.fsync(out.fileno())
    temporary.replace(path)
    return f"sha256:{digest.hexdigest()}"


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
    for count in map(operator.index, (file.bytes, file.width, file.height, file.channels)):
        if not 0 <= count < 2**63:
            raise ValueError(f"{count!r} is out of range")
    if not all(word is None or isinstance(word, str) for word in (file.label, file.split)):
        raise ValueError("label and split must be text or null")
    parts = PurePosixPath(file.path).parts
    if not parts or parts[0] == "/" or ".." in parts:
        raise ValueError(f"path {file.path!r} leaves the data set's root")
