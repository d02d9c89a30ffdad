"""Bounds on what is under way: images in the house, and bytes of answers not sent yet."""

import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from server.features.errors import Overloaded


class Admission:
    """Refuses at the door: an overload is an answer, not a queue that grows. Used from one event loop."""

    def __init__(self, max_images: int) -> None:
        self.max_images = max_images
        self.images = 0
        """Under way now."""
        self.refused = 0
        self._seconds_per_image = 0.1

    def check(self) -> None:
        """Raise `Overloaded` when there is no room for a single image: before a body is even read."""
        if self.images >= self.max_images:
            self._refuse()

    @contextmanager
    def enter(self, images: int) -> Iterator[None]:
        """Hold room for so many images; raises `Overloaded`. A request that alone exceeds the room waits for none."""
        if self.images and self.images + images > self.max_images:
            self._refuse()
        self.images += images
        began = time.monotonic()
        try:
            yield
        finally:
            self.images -= images
            self._learn((time.monotonic() - began) / (self.images + images))

    def _learn(self, seconds: float) -> None:
        """An image leaves about every so many seconds while this many are under way (Little's law), smoothed."""
        self._seconds_per_image += 0.1 * (seconds - self._seconds_per_image)

    def _refuse(self) -> None:
        self.refused += 1
        retry_after = min(30, max(1, math.ceil(self.images * self._seconds_per_image)))
        raise Overloaded(f"{self.images} images are under way, the most this server holds", retry_after)


class ReplyBytes:
    """The memory that answers may take, from before their compute until they are sent."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.held = 0
        self._lock = threading.Lock()

    def take(self, count: int) -> None:
        """Raises `Overloaded` when clients that read slowly hold too much; a single answer always fits."""
        with self._lock:
            if self.held and self.held + count > self.capacity:
                raise Overloaded(f"{self.held} bytes of answers wait to be read by their callers", 2)
            self.held += count

    def give_back(self, count: int) -> None:
        with self._lock:
            self.held -= count


class Reservation:
    """What one answer holds of the memory; given back once, at the latest when the answer is forgotten."""

    def __init__(self, memory: ReplyBytes) -> None:
        self._memory = memory
        self.bytes = 0

    def take(self, count: int) -> None:
        """Hold `count` bytes more; raises `Overloaded`."""
        self._memory.take(count)
        self.bytes += count

    def release(self) -> None:
        self._memory.give_back(self.bytes)
        self.bytes = 0

    def __del__(self) -> None:
        # A cancelled request may lose its answer between any two steps; the memory must not be lost with it.
        self.release()
