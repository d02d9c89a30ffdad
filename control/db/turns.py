"""Turns: one at a time, in the order they came."""

from collections import deque
from threading import Lock


class Turns:
    """What threads line up at. The thread that passes a turn on need not be the one that took it."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._called: Lock | None = None
        """What whoever has the turn waited for."""
        self._waiting: deque[Lock] = deque()

    def take(self, seconds: float) -> bool:
        """Wait for the turn; False when it did not come in so many seconds."""
        own = Lock()
        own.acquire()
        try:
            with self._lock:
                if self._called is None:
                    self._called = own
                    return True
                self._waiting.append(own)
            return own.acquire(timeout=seconds) or not self._leave(own)
        except BaseException:  # a signal's
            if not self._leave(own):
                self.pass_on()
            raise

    def pass_on(self) -> None:
        """Hand the turn to who has waited longest."""
        with self._lock:
            self._called = self._waiting.popleft() if self._waiting else None
            if self._called is not None:
                self._called.release()

    def _leave(self, own: Lock) -> bool:
        """Wait no longer; False when the turn had come."""
        with self._lock:
            if own in self._waiting:
                self._waiting.remove(own)
            return self._called is not own
