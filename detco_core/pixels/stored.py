"""The bytes of a file, in memory or on disk: a few may be looked at without reading all."""

from collections.abc import Iterator
from contextlib import contextmanager
from io import SEEK_END, BytesIO
from pathlib import Path
from typing import BinaryIO

BLOCK = 2**18
"""Bytes read at once."""


class OnDisk:
    """An open file as `bytes` are: of known length, sliced, counted in. It need not fit into memory."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._size = file.seek(0, SEEK_END)

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, part: slice) -> bytes:
        start, stop, _ = part.indices(self._size)
        self._file.seek(start)
        return self._file.read(max(stop - start, 0))

    def count(self, pair: bytes) -> int:
        """How often two bytes, which differ, stand side by side."""
        found, last = 0, b""
        for at in range(0, self._size, BLOCK):
            block = last + self[at : at + BLOCK]
            found, last = found + block.count(pair), block[-1:]
        return found


Stored = bytes | OnDisk


@contextmanager
def stored(where: str | Path | BytesIO) -> Iterator[Stored]:
    """The bytes of an image file; raises `OSError`."""
    if isinstance(where, BytesIO):
        yield where.getvalue()  # shared, not copied
        return
    with open(where, "rb") as file:  # noqa: PTH123  # a path of text is opened a million times an epoch
        yield OnDisk(file)
