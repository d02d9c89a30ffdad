"""How often each model version was asked over the protocol, and how long its stages took, as Triton reports it."""

import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from server.features.schemas import Timings

_STAGES = {"queue": "queue", "compute_input": "decode", "compute_infer": "compute", "compute_output": "encode"}
"""The protocol's words for ours."""


@dataclass
class Counters:
    """Of one model version, as named by clients."""

    requests: int = 0
    failures: int = 0
    pictures: int = 0
    last: float = 0.0
    """Unix time of the last request."""
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(("success", "fail", *_STAGES), 0.0))


class Statistics:
    """Of all models, since the start."""

    def __init__(self) -> None:
        self._counters: dict[tuple[str, int], Counters] = defaultdict(Counters)
        self._lock = threading.Lock()

    def succeeded(self, model: str, version: int, pictures: int, timings: Timings, total: float) -> None:
        """Note a request that was answered; `total` in seconds."""
        with self._lock:
            counters = self._counters[model, version]
            counters.requests += 1
            counters.pictures += pictures
            counters.last = time.time()
            counters.seconds["success"] += total
            for stage, ours in _STAGES.items():
                counters.seconds[stage] += getattr(timings, ours)

    def failed(self, model: str, version: int, total: float) -> None:
        """Note a request that was not."""
        with self._lock:
            counters = self._counters[model, version]
            counters.failures += 1
            counters.seconds["fail"] += total

    def of(self, model: str, version: int) -> dict[str, Any]:
        """One entry of `model_stats`; durations in nanoseconds."""
        with self._lock:
            counters = self._counters[model, version]
            nanoseconds = {key: int(1e9 * seconds) for key, seconds in counters.seconds.items()}
            requests, failures, pictures = counters.requests, counters.failures, counters.pictures
            last = int(1e3 * counters.last)
        ended = {"success": requests, "fail": failures, **dict.fromkeys(_STAGES, requests)}
        return {
            "name": model,
            "version": str(version),
            "last_inference": last,
            "inference_count": pictures,
            # As if each had run alone. On a GPU some ran together, with those of `/features` too: metrics count these.
            "execution_count": pictures,
            "inference_stats": {key: {"count": count, "ns": nanoseconds[key]} for key, count in ended.items()},
            "batch_stats": [],
        }
