"""Appends a job's events to `events.jsonl`: one line an event, on disk in the order they happened.

Standard library only: the `check` verb speaks through it without importing torch.
"""

import errno
import os
import time
from pathlib import Path
from typing import BinaryIO, Self

from detco_core.contract.errors import InvalidDocument
from detco_core.contract.events import Body, Event, decode, encode
from detco_core.contract.jobs import EVENTS_FILE


class Reporter:
    """Writes the events of one job; says nothing on any rank but 0.

    A file left by an earlier process of the same folder is continued: `seq` goes on, and a last line that was cut off
    when that process was killed is removed (readers take whole lines only).
    """

    def __init__(self, folder: Path, rank: int = 0) -> None:
        self._path = folder / EVENTS_FILE
        self._rank = rank
        self._file: BinaryIO | None = None
        self._seq = 0

    def emit(self, body: Body) -> None:
        """Append one event; it is visible to readers when this returns.

        Raises:
            OSError: the file cannot be written, e.g. the disk is full.
        """
        if self._rank != 0:
            return
        if self._file is None:
            self._file, self._seq = _open(self._path)
        _append(self._file, encode(Event(self._seq + 1, time.time(), body)).encode() + b"\n")
        self._seq += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; a later `emit` opens it again."""
        if self._file is not None:
            self._file.close()
            self._file = None


def _append(file: BinaryIO, line: bytes) -> None:
    """The whole line or none of it: a full disk may take a part, and the next line would be one with it."""
    end = file.tell()
    if file.write(line) < len(line):
        file.truncate(end)
        file.seek(end)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _open(path: Path) -> tuple[BinaryIO, int]:
    """The events file, unbuffered and at its end, and the last `seq` in it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    text = path.read_bytes()
    whole = text[: text.rfind(b"\n") + 1]
    file = path.open("r+b", buffering=0)
    file.truncate(len(whole))
    file.seek(len(whole))
    return file, _last_seq(whole)


def _last_seq(text: bytes) -> int:
    lines = text.splitlines()
    if not lines:
        return 0
    try:
        return decode(lines[-1].decode()).seq
    except (InvalidDocument, UnicodeDecodeError):
        return len(lines)
