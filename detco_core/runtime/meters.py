"""How fast a run goes: images a second, share of time spent waiting for data, time left."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

WINDOW_SECONDS = 30.0
"""Figures are averages over the steps of this long a past, so that they follow a change and do not jump."""


class Speed:
    """Figures of the recent steps. The first step is left out of the rate: it holds start-up costs."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._steps: deque[tuple[float, int, float]] = deque()
        self._waited = 0.0

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Time spent in this block counts as waiting for data."""
        start = self._clock()
        try:
            yield
        finally:
            self.waited(self._clock() - start)

    def waited(self, seconds: float) -> None:
        """So many seconds were spent waiting for data."""
        self._waited += seconds

    def step(self, images: int) -> None:
        """A step over `images` images is done."""
        now = self._clock()
        self._steps.append((now, images, self._waited))
        self._waited = 0.0
        while len(self._steps) > 2 and now - self._steps[1][0] > WINDOW_SECONDS:
            self._steps.popleft()

    @property
    def images_per_second(self) -> float:
        """0 until two steps are done."""
        images = sum(count for _, count, _ in list(self._steps)[1:])
        return images / self._span if self._span > 0 else 0.0

    @property
    def data_wait(self) -> float:
        """Share of the time spent waiting for data, 0..1."""
        waited = sum(wait for _, _, wait in list(self._steps)[1:])
        return min(1.0, waited / self._span) if self._span > 0 else 0.0

    def eta_seconds(self, steps_left: int) -> float | None:
        """Seconds until the run ends at this pace; None until two steps are done."""
        steps = len(self._steps) - 1
        return steps_left * self._span / steps if self._span > 0 else None

    @property
    def _span(self) -> float:
        return self._steps[-1][0] - self._steps[0][0] if len(self._steps) > 1 else 0.0
