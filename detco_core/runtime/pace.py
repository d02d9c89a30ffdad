"""Says how far work that goes image by image is: now and then, and at its end."""

import time
from collections.abc import Callable, Iterator, Sized
from typing import TypeVar

from detco_core.contract.events import Progress
from detco_core.runtime.meters import Speed

T = TypeVar("T", bound=Sized)

SPEAK_EVERY = 1.0
"""Seconds between two progress events, at least."""


class Pace:
    """Counts images and tells; `done` is how many were done before."""

    def __init__(self, images: int, progress: Callable[[Progress], None], done: int = 0) -> None:
        self._images = images
        self._progress = progress
        self._speed = Speed()
        self._done = done
        self._spoke = float("-inf")

    def watch(self, batches: Iterator[T]) -> Iterator[T]:
        """Pass the batches on; a batch counts as done when the next is asked for."""
        while True:
            with self._speed.waiting():
                batch = next(batches, None)
            if batch is None:
                return
            yield batch
            self.count(len(batch))

    def count(self, images: int, waited: float = 0.0) -> None:
        """So many more are done, and so many seconds since the last were spent waiting for data."""
        self._done += images
        self._speed.waited(waited)
        self._speed.step(images)
        if self._done >= self._images:
            self.say()
        self.say_again()

    def say_again(self) -> None:
        """Tell how far it is, if that was a while ago."""
        if time.monotonic() - self._spoke >= SPEAK_EVERY:
            self.say()

    def say(self) -> None:
        """Tell how far it is."""
        self._spoke = time.monotonic()
        rate = self._speed.images_per_second
        self._progress(
            Progress(
                step=self._done,
                steps=self._images,
                images_per_second=rate,
                data_wait=self._speed.data_wait,
                eta_seconds=(self._images - self._done) / rate if rate else None,
            )
        )
