"""A timeline that knows at every moment to which part the time belongs: marks are set around real calls.

There is one part at a time, so the parts of a round add up to the whole and nothing is counted twice or left out.
"""

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Generic, Protocol, TypeVar

import torch

T = TypeVar("T")


class Clock(Protocol[T]):
    """A way to mark a moment; what lies between two is read off later, when nothing has to wait for it."""

    unit: str

    def now(self) -> T:
        """Mark this moment."""

    def settle(self) -> None:
        """Wait until all that was asked for is done."""

    def milliseconds(self, start: T, end: T) -> float:
        """Between two marks; after `settle`."""


class CpuClock:
    """CPU time of this process, all its threads together."""

    unit = "CPU ms"

    def now(self) -> float:
        return time.process_time()

    def settle(self) -> None:
        """The CPU is never behind."""

    def milliseconds(self, start: float, end: float) -> float:
        return 1000 * (end - start)


class GpuClock:
    """Time on the GPU's own stream, idle gaps included: a mark is an event that costs the host nothing."""

    unit = "GPU ms"

    def now(self) -> torch.cuda.Event:
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]  # torch has no annotation here
        event.record()
        return event

    def settle(self) -> None:
        torch.cuda.synchronize()

    def milliseconds(self, start: torch.cuda.Event, end: torch.cuda.Event) -> float:
        return float(start.elapsed_time(end))


class Timeline(Generic[T]):
    """Marks of one round."""

    def __init__(self, clock: Clock[T]) -> None:
        self.clock = clock
        self._marks: list[tuple[str | None, T]] = []
        self._parts: list[str | None] = [None]

    def switch(self, part: str | None) -> None:
        """From here on time belongs to `part`; to None: to nothing that is measured."""
        self._parts[-1] = part
        self._marks.append((part, self.clock.now()))

    def enter(self, part: str) -> None:
        """From here on time belongs to `part`, until `leave`."""
        self._parts.append(part)
        self.switch(part)

    def leave(self) -> None:
        """Time belongs again to what it belonged to before `enter`."""
        self._parts.pop()
        self.switch(self._parts[-1])

    @contextmanager
    def inside(self, part: str) -> Iterator[None]:
        """Time in this block belongs to `part`."""
        self.enter(part)
        try:
            yield
        finally:
            self.leave()

    def take(self) -> dict[str, float]:
        """Milliseconds of each part since the last `take`, and start anew."""
        self.switch(None)
        self.clock.settle()
        sums: defaultdict[str, float] = defaultdict(float)
        for (part, start), (_, end) in zip(self._marks, self._marks[1:], strict=False):
            if part is not None:
                sums[part] += self.clock.milliseconds(start, end)
        self._marks.clear()
        return dict(sums)
