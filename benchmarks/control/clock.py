"""Times of many calls, and what is told of them."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import quantiles


@dataclass(frozen=True, slots=True)
class Times:
    """Milliseconds of one kind of call."""

    what: str
    p50: float
    p99: float
    worst: float
    calls: int
    cpu: float
    """Milliseconds of processor time that service and database took for one, on average: what does not depend on how
    busy the machine is with other things."""


def timed(call: Callable[[], object]) -> float:
    """Milliseconds it takes."""
    begun = time.perf_counter()
    call()
    return 1000 * (time.perf_counter() - begun)


def summed_up(what: str, milliseconds: Sequence[float], cpu_seconds: float) -> Times:
    """Median, 99th percentile and worst; of fewer than 100 calls the percentile is the worst."""
    cuts = quantiles(milliseconds, n=100, method="inclusive")
    worst, per_call = max(milliseconds), 1000 * cpu_seconds / len(milliseconds)
    return Times(what, cuts[49], cuts[98] if len(milliseconds) >= 100 else worst, worst, len(milliseconds), per_call)
