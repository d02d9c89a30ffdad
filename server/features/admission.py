"""Bounds the images that are under way, over all requests."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from server.features.errors import Overloaded

_WEIGHT = 0.1
"""Of the newest, in how long an image takes."""


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

    Also refused is what would wait past its deadline behind those that are here, at the pace at which they leave.

    Bulk is let in only while there are fewer images than `bulk_images`, and what of it still waits gives way to
    interactive requests that would find no room.
    """

    def __init__(
        self, max_images: int, bulk_images: int | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.max_images = max_images
        self.bulk_images = max(1, max_images // 2) if bulk_images is None else min(bulk_images, max_images)
        self.images = 0
        """Under way now."""
        self.refused = 0
        self.shed = 0
        """Bulk requests that were let in and given up."""
        self._bulk: list[Ticket] = []
        self._clock = clock
        self._seconds_per_image = 0.1
        self._since = 0.0
        """The last image left then, or the first came."""

    def check(self, *, bulk: bool = False) -> None:
        """Raise `Overloaded` when there is no room for a single image: before a body is even read."""
        most = self._most(bulk=bulk)
        if self.images >= most and (bulk or not any(ticket.can_be_shed for ticket in self._bulk)):
            self._refuse(bulk=bulk)

    @contextmanager
    def enter(self, images: int, *, bulk: bool = False, seconds: float = math.inf) -> Iterator[Ticket]:
        """Hold room for so many images, which are wanted within so many seconds.

        Raises `Overloaded`. A request that alone exceeds the room, or the time, waits for none.
        """
        if self.images and self.images + images > self._most(bulk=bulk) and (bulk or not self._make_room(images)):
            self._refuse(bulk=bulk)
        self._check_time(images, seconds, bulk=bulk)
        if not self.images:
            self._since = self._clock()
        ticket = Ticket(images, bulk=bulk)
        self.images += images
        if bulk:
            self._bulk.append(ticket)
        try:
            yield ticket
            self._learn(ticket.images)
        finally:
            self._leave(ticket)

    def _leave(self, ticket: Ticket) -> None:
        if ticket.bulk:
            self._bulk.remove(ticket)
        if not ticket.is_shed:
            self.images -= ticket.images

    def _check_time(self, images: int, seconds: float, *, bulk: bool) -> None:
        """Refuse what would be answered too late; bulk whose turn has not come is behind interactive requests."""
        ahead = self.images if bulk else self.images - sum(ticket.images - ticket.begun for ticket in self._bulk)
        if ahead > 0 and (ahead + images) * self._seconds_per_image > seconds:
            self.refused += 1
            message = f"{ahead} images are under way; behind them this request would miss its deadline of {seconds:g} s"
            raise Overloaded(message, self.retry_after())

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

    def _learn(self, images: int) -> None:
        """The time between those that leave with an answer, smoothed; a long wait for a model says little."""
        now = self._clock()
        seconds = (now - self._since) / images
        self._since = now
        self._seconds_per_image += _WEIGHT * (min(seconds, 4 * self._seconds_per_image) - self._seconds_per_image)

    def _refuse(self, *, bulk: bool) -> None:
        self.refused += 1
        most = "bulk requests are let in up to" if bulk else "the most this server holds is"
        raise Overloaded(f"{self.images} images are under way; {most} {self._most(bulk=bulk)}", self.retry_after())
