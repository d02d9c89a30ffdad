"""Memory of answers that are not sent yet: bounded over all of them, and held by each until it is out."""

import threading
from collections.abc import Callable

from server.features.errors import Overloaded


class ReplyBytes:
    """The memory that answers may take, from before their compute until they are sent."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.held = 0
        self.returned = 0
        """Times that some of it came back."""
        # Entered again where garbage is collected in here, and a forgotten answer with it.
        self._lock = threading.RLock()

    def take(self, count: int, own: int = 0) -> None:
        """Raises `Overloaded` when clients that read slowly hold too much; a single answer, which has `own` bytes
        already, always fits.
        """
        with self._lock:
            if self.held > own and self.held + count > self.capacity:
                raise Overloaded(f"{self.held} bytes of answers wait to be read by their callers", 2)
            self.held += count

    def add(self, count: int) -> None:
        """Count what has been made already, and so cannot be refused."""
        with self._lock:
            self.held += count

    def give_back(self, count: int) -> None:
        with self._lock:
            self.held -= count
            self.returned += bool(count)


class Reservation:
    """What one answer holds of the memory; given back once, at the latest when the answer is forgotten. Threads may
    share it.
    """

    def __init__(self, memory: ReplyBytes) -> None:
        self._memory = memory
        self._lock = threading.RLock()
        self.bytes = 0

    def take(self, count: int, check: Callable[[int], None] = lambda held: None) -> None:
        """Hold `count` bytes more; raises `Overloaded`, and what `check` raises of the bytes held until now."""
        with self._lock:
            check(self.bytes)
            self._memory.take(count, self.bytes)
            self.bytes += count

    def hold(self, count: int) -> None:
        """Hold `count` bytes in all from now on; raises `Overloaded`, and then holds what it did."""
        with self._lock:
            if count > self.bytes:
                self.take(count - self.bytes)
            else:
                self._memory.give_back(self.bytes - count)
                self.bytes = count

    def settle(self, count: int) -> None:
        """It came to `count` bytes; what is more than was held is counted, not refused."""
        with self._lock:
            self._memory.add(count - self.bytes)
            self.bytes = count

    def release(self) -> None:
        with self._lock:
            self._memory.give_back(self.bytes)
            self.bytes = 0

    def __del__(self) -> None:
        # A cancelled request may lose its answer between any two steps; the memory must not be lost with it.
        self.release()
