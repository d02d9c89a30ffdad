"""A polite request to stop: SIGTERM or Ctrl-C sets a flag that the work looks at when it can be left.

Work that has nothing to save asks for `interrupting`, which raises `Interrupted` instead.
"""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_PATIENCE = b"\r\x1b[Kstopping after this step, then saving; Ctrl-C again leaves at once\r\n"


class Interrupted(BaseException):
    """The process was asked to stop; a `BaseException`, so that no `except Exception` swallows it."""


class StopRequest:
    """Whether this process was asked to stop. A second Ctrl-C raises `KeyboardInterrupt`: the person means now."""

    def __init__(self) -> None:
        self.requested = False
        self._immediate = False
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "StopRequest":
        self._previous = {number: signal.signal(number, self._on_signal) for number in _SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    @contextmanager
    def interrupting(self) -> Iterator[None]:
        """Within this block a request raises `Interrupted` at once."""
        self._immediate = True
        try:
            if self.requested:
                raise Interrupted
            yield
        finally:
            self._immediate = False

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        if number == signal.SIGINT and self.requested:
            raise KeyboardInterrupt
        self.requested = True
        if self._immediate:
            raise Interrupted
        if number == signal.SIGINT and sys.stderr.isatty() and os.environ.get("RANK", "0") == "0":
            # Not through a stream, which may be in the middle of a write that this signal interrupted.
            os.write(sys.stderr.fileno(), _PATIENCE)
