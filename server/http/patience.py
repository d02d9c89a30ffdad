"""Questions to tables that may never answer, asked by those who watch the service and must have an answer soon."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

SECONDS = 4.0
"""Less than Prometheus (10 s) and most probes wait, and than a connection to a lost database takes (5 s)."""


class Patience:
    """One question at a time, in a thread of its own: those that hang hold up nobody but the next ones."""

    def __init__(self, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._thread = ThreadPoolExecutor(1, "watched")

    def ask(self, question: Callable[[], T]) -> T:
        """The answer, or what the question raises; blocks. Raises `TimeoutError` when there is none in time."""
        asked = self._thread.submit(question)
        try:
            return asked.result(self._seconds)
        except TimeoutError as error:
            asked.cancel()
            raise TimeoutError(f"the database has not answered for {self._seconds:g} s") from error
