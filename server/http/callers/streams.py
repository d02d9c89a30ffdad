"""Counts the open event streams of each token, so that one caller cannot take them all."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from control.records.access.principals import Principal
from server.http.problems import Problem

MAX_STREAMS = 32
"""Open at once for one token."""


class Streams:
    """The open streams of one service process; used from its event loop."""

    def __init__(self) -> None:
        self._open: Counter[str] = Counter()

    def check(self, who: Principal) -> None:
        """Raise `Problem` (429) when the token has as many streams open as there may be."""
        if self._open[who.token_id] >= MAX_STREAMS:
            detail = f"token {who.name!r} has {MAX_STREAMS} streams open, the most there may be; close one, or poll"
            raise Problem("too_many_requests", detail, code="too_many_streams", headers={"Retry-After": "5"})

    @contextmanager
    def enter(self, who: Principal) -> Iterator[None]:
        """Count one stream for as long as the block runs."""
        self._open[who.token_id] += 1
        try:
            yield
        finally:
            self._open[who.token_id] -= 1
            if not self._open[who.token_id]:
                del self._open[who.token_id]
