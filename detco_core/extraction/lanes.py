"""Where batches are computed, several at once: what of a machine one computation leaves idle, the next one uses.

On a CPU images go side by side, each in one thread: threads that share an image wait for one another at every layer,
which costs a tenth of the time or more (docs/decisions/231). Only images too large to lie side by side get all threads,
one after the other. On a GPU batches are computed one by one, while the next is brought and the last is finished.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from detco_core.inference.pictures.preprocess import MAX_NETWORK_PIXELS
from detco_core.inference.sessions.binding import Maps
from detco_core.inference.sessions.execution import CPU
from detco_core.inference.sessions.session import Session

Images = Sequence[NDArray[np.float32]]

_ON_A_DEVICE = 3
"""Batches under way: one is brought, one computed, one finished."""


class Lanes(Protocol):
    """Takes batches from several threads."""

    @property
    def count(self) -> int:
        """How many threads are worth while."""
        ...

    def compute(self, images: Images, outputs: Sequence[str]) -> Maps:
        """The outputs, `[N, ...]` each, of images `[1, C, H, W]` of one shape."""
        ...


def open_lanes(session: Session, threads: int, widened: Callable[[], Session]) -> Lanes:
    """Of `session`, which computes in one thread; `widened` opens it once more, with all `threads` of the CPU."""
    return OnCpu(session, threads, widened) if session.provider == CPU else OnDevice(session)


class OnCpu:
    """`count` images at once, in one thread each, which together are no larger than a single one may be.

    So they never need more memory than the largest image does. Others are computed alone, in all threads.
    """

    def __init__(self, session: Session, count: int, widened: Callable[[], Session]) -> None:
        self.count = count
        self._session = session
        self._widened = widened
        self._room = Room(count)

    def compute(self, images: Images, outputs: Sequence[str]) -> Maps:
        if sum(image[0, 0].size for image in images) * self.count <= MAX_NETWORK_PIXELS:
            with self._room.taken(1):
                return self._session.stage(images, outputs).compute()
        with self._room.taken(self.count):
            return self._wide.stage(images, outputs).compute()

    @cached_property
    def _wide(self) -> Session:
        """Opened where it is needed: it holds the weights a second time."""
        return self._widened()


@dataclass(frozen=True, slots=True)
class OnDevice:
    """One batch at a time, of which the memory of a GPU has to hold no more."""

    session: Session
    count: int = _ON_A_DEVICE
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def compute(self, images: Images, outputs: Sequence[str]) -> Maps:
        staged = self.session.stage(images, outputs)
        with self._turn:
            maps = staged.compute()
        # A shard is held for a while: not in the page-locked memory that a GPU writes to.
        return {name: feature.copy() for name, feature in maps.items()}


class Room:
    """So many places, taken by threads, some of which need several at once."""

    def __init__(self, places: int) -> None:
        self._free = places
        self._changed = threading.Condition()

    @contextmanager
    def taken(self, places: int) -> Iterator[None]:
        """Wait for that many and have them in this block."""
        with self._changed:
            self._changed.wait_for(lambda: self._free >= places)
            self._free -= places
        try:
            yield
        finally:
            with self._changed:
                self._free += places
                self._changed.notify_all()
