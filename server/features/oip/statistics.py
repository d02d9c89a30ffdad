"""How often each model version was asked over the protocol, and how long its stages took, as Triton reports it."""

import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakSet

from server.features.schemas import ImageReply, Timings
from server.features.waiting import Shared

_STAGES = {"queue": "queue", "compute_input": "decode", "compute_infer": "compute", "compute_output": "encode"}
"""The protocol's words for ours."""
_COMPUTE = tuple(stage for stage in _STAGES if stage != "queue")


@dataclass(slots=True)
class Executions:
    """Batches of one size."""

    count: int = 0
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(_COMPUTE, 0.0))


@dataclass(slots=True)
class Counters:
    """Of one model version, as named by clients."""

    requests: int = 0
    computed: int = 0
    """Those of them that were not remembered as a whole."""
    failures: int = 0
    pictures: int = 0
    """Computed, and answered."""
    last: float = 0.0
    """Unix time of the last request."""
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(("success", "fail", *_STAGES), 0.0))
    by_size: dict[int, Executions] = field(default_factory=lambda: defaultdict(Executions))
    counted: "WeakSet[Shared]" = field(default_factory=WeakSet)
    """Batches counted already, of which further pictures may come with other requests."""

    def note(self, timings: Timings) -> None:
        """A picture that was computed."""
        self.pictures += 1
        for stage, ours in _STAGES.items():
            self.seconds[stage] += getattr(timings, ours)
        batch = timings.batch
        size, seconds = (1, timings.compute) if batch is None else (batch.images, batch.seconds)
        of_size = self.by_size[size]
        of_size.seconds["compute_input"] += timings.decode
        of_size.seconds["compute_output"] += timings.encode
        if batch is None or batch not in self.counted:
            of_size.count += 1
            of_size.seconds["compute_infer"] += seconds
        if batch is not None:
            self.counted.add(batch)

    def entry(self) -> dict[str, Any]:
        """Without its name; durations in nanoseconds."""
        ended = {"success": self.requests, "fail": self.failures, "queue": self.requests}
        ended |= dict.fromkeys(_COMPUTE, self.computed)
        return {
            "last_inference": int(1e3 * self.last),
            "inference_count": self.pictures,
            "execution_count": sum(of_size.count for of_size in self.by_size.values()),
            "inference_stats": {key: _duration(count, self.seconds[key]) for key, count in ended.items()},
            "batch_stats": [
                {"batch_size": size} | {stage: _duration(of.count, of.seconds[stage]) for stage in _COMPUTE}
                for size, of in sorted(self.by_size.items())
            ],
        }


class Statistics:
    """Of all models, since the start.

    An execution is a batch with a picture of the model in it. Others in it may have come by the model's other name, or
    by `/features`, whose pictures are not counted here.
    """

    def __init__(self) -> None:
        self._counters: dict[tuple[str, int], Counters] = defaultdict(Counters)
        self._lock = threading.Lock()

    def succeeded(self, model: str, version: int, images: Sequence[ImageReply], total: float) -> None:
        """Note a request that was answered; `total` in seconds."""
        computed = [image.timings for image in images if not image.cached]
        with self._lock:
            counters = self._counters[model, version]
            counters.requests += 1
            counters.computed += bool(computed)
            counters.last = time.time()
            counters.seconds["success"] += total
            for timings in computed:
                counters.note(timings)

    def failed(self, model: str, version: int, total: float) -> None:
        """Note a request that was not."""
        with self._lock:
            counters = self._counters[model, version]
            counters.failures += 1
            counters.seconds["fail"] += total

    def of(self, model: str, version: int) -> dict[str, Any]:
        """One entry of `model_stats`."""
        with self._lock:
            return {"name": model, "version": str(version), **self._counters[model, version].entry()}


def _duration(count: int, seconds: float) -> dict[str, int]:
    return {"count": count, "ns": int(1e9 * seconds)}
