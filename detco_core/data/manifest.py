"""The file manifest of a data set version: written once by the scan, read by every job, line by line both times.

Its format is in `detco_core.contract.datasets`.
"""

import hashlib
import json
import operator
import os
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from detco_core.contract.datasets import DatasetFile
from detco_core.contract.errors import DataError
from detco_core.contract.reader import canonical_json, plain
from detco_core.data.file_table import FileTable, tabulate

MAX_LINE = 16_384
"""Bytes of one line; longer ones are no manifest of ours."""


def write_manifest(path: Path, files: Iterable[DatasetFile]) -> str:
    """Write the manifest in one move as the files come, which must be sorted by path; returns its digest `sha256:...`.

    When `files` raises, nothing is left behind.
    """
    digest, last = hashlib.sha256(), ""
    temporary = path.with_name(path.name + ".part")
    try:
        with temporary.open("wb") as out:
            for file in files:
                if file.path < last:
                    raise ValueError(f"{file.path!r} comes after {last!r}: a manifest is sorted by path")
                last, line = file.path, _line(file)
                digest.update(line)
                out.write(line)
            out.flush()
            os.fsync(out.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return f"sha256:{digest.hexdigest()}"


def _line(file: DatasetFile) -> bytes:
    keys = {name: getattr(file, name) for name in _ALONE if file.container is None} or plain(file)
    return canonical_json(keys).encode() + b"\n"


_ALONE = ("path", "bytes", "width", "height", "channels", "label", "split")
"""Keys of an image that is a file of its own."""


def read_manifest(path: Path, digest: str | None) -> FileTable:
    """Read a manifest whose digest is `digest` (None: not checked).

    A long table is kept in unnamed files beside the manifest where that folder can be written to.

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
            lines = _read_lines(path, iter(lambda: file.readline(MAX_LINE), b""))
            return tabulate(lines, path.parent if os.access(path.parent, os.W_OK) else None)
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
    if ".." not in path and path[:1] not in ("", "/", "."):
        return True  # nearly all, and there may be millions
    parts = PurePosixPath(path).parts
    return path in also or (bool(parts) and parts[0] != "/" and ".." not in parts)
