"""Bytes that grow: in memory while they are few, then in an unnamed file that is mapped.

A process that is started from this one maps the same file: the descriptor travels, not the bytes. An unnamed file needs
no cleaning up, whoever is killed when.
"""

import mmap
import os
from collections.abc import Callable
from multiprocessing import context, reduction
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

IN_MEMORY = 1 << 20
"""Bytes; more go to a file."""


class Unnamed:
    """A file without a name; its space is given back with the last reference to it."""

    __slots__ = ("descriptor",)

    def __init__(self, descriptor: int) -> None:
        """`descriptor` is closed with this."""
        self.descriptor = descriptor

    @classmethod
    def make(cls, folder: Path | None = None) -> "Unnamed":
        """A new one in `folder`; None: where temporary files lie."""
        with TemporaryFile(prefix="detco-", dir=folder) as file:
            return cls(os.dup(file.fileno()))

    def __del__(self) -> None:
        os.close(self.descriptor)

    def append(self, data: bytes | bytearray) -> int:
        """Write all of `data` at the end; returns where it begins."""
        start, rest = os.lseek(self.descriptor, 0, os.SEEK_END), memoryview(data)
        while rest:
            rest = rest[os.write(self.descriptor, rest) :]
        return start

    def read(self, start: int, length: int) -> bytes:
        return os.pread(self.descriptor, length, start)


class Span:
    """Bytes that do not change any more."""

    __slots__ = ("_file", "view")

    def __init__(self, data: bytes, file: Unnamed | None = None) -> None:
        """`file` is the one that holds them instead of `data`."""
        self._file = file
        whole: bytes | mmap.mmap = data if file is None else mmap.mmap(file.descriptor, 0, access=mmap.ACCESS_READ)
        self.view = memoryview(whole)
        """[n] bytes, read-only."""

    def __reduce__(self) -> tuple[Callable[..., "Span"], tuple[Any, ...]]:
        # Only while a process is being started can a descriptor go with it.
        if self._file is None or context.get_spawning_popen() is None:
            return Span, (bytes(self.view),)
        return _received, (reduction.DupFd(self._file.descriptor),)


def _received(descriptor: Any) -> Span:
    return Span(b"", Unnamed(descriptor.detach()))


class Growing:
    """Bytes that are added to."""

    __slots__ = ("_buffer", "_file", "_folder")

    def __init__(self, folder: Path | None = None) -> None:
        """`folder` is where the file lies, should there be one; None: where temporary files do."""
        self._folder = folder
        self._buffer = bytearray()
        self._file: Unnamed | None = None

    def add(self, data: bytes) -> None:
        self._buffer += data
        if len(self._buffer) >= IN_MEMORY:
            self._spill()

    def skip(self, count: int) -> None:
        """Add `count` zeros."""
        while count > 0:
            self.add(bytes(min(count, IN_MEMORY)))
            count -= IN_MEMORY

    def whole(self) -> Span:
        """All that was added; nothing may be added afterwards."""
        if self._file is None:
            return Span(bytes(self._buffer))
        self._spill()
        return Span(b"", self._file)

    def _spill(self) -> None:
        if self._file is None:
            self._file = Unnamed.make(self._folder)
        self._file.append(self._buffer)
        self._buffer.clear()
