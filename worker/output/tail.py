"""Follows the `events.jsonl` of a job that may still be writing it.

Only whole lines count: the writer appends a line and its newline at once, so what follows the last newline is a line
still being written, or one cut off when its writer was killed.
"""

import logging
from pathlib import Path
from typing import NamedTuple

from detco_core.contract.errors import InvalidDocument
from detco_core.contract.events import Event, decode

MAX_LINE = 16 * 2**20
"""Bytes; a longer line is skipped. The longest honest one is the report of a scan, which lists every broken file."""
MAX_BATCH = 500
"""Events handed over at once, so that a long file becomes several short transactions."""

_log = logging.getLogger(__name__)


class Line(NamedTuple):
    """One event, and where its line begins and ends in the file, in bytes."""

    event: Event
    start: int
    end: int


class Tail:
    """The events of one file from `offset` on; the caller moves `offset` when it has kept them."""

    def __init__(self, path: Path, offset: int = 0, *, max_line: int = MAX_LINE, max_batch: int = MAX_BATCH) -> None:
        self._path = path
        self._max_line = max_line
        self._max_batch = max_batch
        self.offset = offset

    def read(self) -> list[Line]:
        """The next events, at most `max_batch`; empty when there is nothing new.

        Lines that are no events are logged and left out. Reading again without moving `offset` gives the same lines.
        """
        chunk = self._chunk()
        lines: list[Line] = []
        start = self.offset
        while len(lines) < self._max_batch and (length := chunk.find(b"\n", start - self.offset) + 1):
            end = self.offset + length
            event = self._event(chunk[start - self.offset : length], start)
            if event is not None:
                lines.append(Line(event, start, end))
            start = end
        if not lines and start > self.offset:
            self.offset = start  # nothing but damaged lines: no caller will ever move past them
        if start == self.offset and len(chunk) == self._max_line:
            _log.warning("skipping a line of more than %d bytes in %s", self._max_line, self._path)
            self.offset += self._max_line  # its rest is no event either, and is skipped as such
        return lines

    def _chunk(self) -> bytes:
        try:
            with self._path.open("rb") as file:
                file.seek(self.offset)
                return file.read(self._max_line)
        except FileNotFoundError:
            return b""

    def _event(self, line: bytes, start: int) -> Event | None:
        try:
            return decode(line.decode("utf-8"))
        except (InvalidDocument, UnicodeDecodeError) as error:
            _log.warning("skipping what is no event at byte %d of %s: %s", start, self._path, error)
            return None
