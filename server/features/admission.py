"""Bounds on what is under way: images in the house, and bytes of answers not sent yet."""

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from server.features.errors import Overloaded


class Ticket:
    """A request that was let in: so many images, which count until it leaves or is given up for others."""

    def __init__(self, images: int, *, bulk: bool) -> None:
        self.images = images
        self.bulk = bulk
        self.begun = 0
        """Images whose turn has come."""
        self.is_shed = False
        self.end: Callable[[], bool] | None = None
        """Ends the request early; False when it has ended already."""

    @property
    def can_be_shed(self) -> bool:
        return self.bulk and not self.is_shed and self.begun < self.images and self.end is not None


class Admission:
    """Refuses at the door: an overload is an answer, not a queue that grows. Used from one event loop.

    Bulk is let in only while the house is emptier than `bulk_images`, and what of it still waits gives way to
    interactive requests that would find no room.
    """

    def __init__(self, max_images: int, bulk_images: int | None = None) -> None:
        self.max_images = max_images
        self.bulk_images = max(1, max_images // 2) if bulk_images is None else min(bulk_images, max_images)
        self.images = 0
        """Under way now."""
        self.refused = 0
        self.shed = 0
        """Bulk requests that were let in and given up."""
        self._bulk: list[Ticket] = []
        self._seconds_per_image = 0.1

    def check(self, *, bulk: bool = False) -> None:
        """Raise `Overloaded` when there is no room for a single image: before a body is even read."""
        most = self._most(bulk=bulk)
        if self.images >= most and (bulk or not any(ticket.can_be_shed for ticket in self._bulk)):
            self._refuse(bulk=bulk)

    @contextmanager
    def enter(self, images: int, *, bulk: bool = False) -> Iterator[Ticket]:
        """Hold room for so many images; raises `Overloaded`. A request that alone exceeds the room waits for none."""
        if self.images and self.images + images > self._most(bulk=bulk) and (bulk or not self._make_room(images)):
            self._refuse(bulk=bulk)
        ticket = Ticket(images, bulk=bulk)
        self.images += images
        if bulk:
            self._bulk.append(ticket)
        began = time.monotonic()
        try:
            yield ticket
        finally:
            self._leave(ticket, time.monotonic() - began)

    def _leave(self, ticket: Ticket, seconds: float) -> None:
        if ticket.bulk:
            self._bulk.remove(ticket)
        if not ticket.is_shed:
            self.images -= ticket.images
            self._learn(seconds / (self.images + ticket.images))

    def _make_room(self, images: int) -> bool:
        """Give up as much bulk as lets so many images in, the newest first; nothing when that is not enough."""
        needed = min(self.images, self.images + images - self.max_images)
        waiting = [ticket for ticket in reversed(self._bulk) if ticket.can_be_shed]
        if sum(ticket.images for ticket in waiting) < needed:
            return False
        for ticket in waiting:
            if needed > 0 and ticket.end is not None and ticket.end():
                ticket.is_shed = True
                self.shed += 1
                self.images -= ticket.images
                needed -= ticket.images
        return needed <= 0

    def _most(self, *, bulk: bool) -> int:
        return self.bulk_images if bulk else self.max_images

    def retry_after(self) -> int:
        """Seconds after which what is under way now has probably left."""
        return min(30, max(1, math.ceil(self.images * self._seconds_per_image)))

    def _learn(self, seconds: float) -> None:
        """An image leaves about every so many seconds while this many are under way (Little's law), smoothed."""
        self._seconds_per_image += 0.1 * (seconds - self._seconds_per_image)

    def _refuse(self, *, bulk: bool) -> None:
        self.refused += 1
        most = "bulk requests are let in up to" if bulk else "the most this server holds is"
        raise Overloaded(f"{self.images} images are under way; {most} {self._most(bulk=bulk)}", self.retry_after())


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
