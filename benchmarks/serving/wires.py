"""What the way to the server costs: the same picture by `/features`, by `/v2`, and over gRPC by call and by stream."""

import statistics
import time
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

from benchmarks.serving.driver import Load
from benchmarks.serving.scene import Scene
from benchmarks.serving.target import Spent, Target

CALLERS = (1, 4)


@dataclass(slots=True)
class _Kept:
    """Of one way at a number of callers, by round."""

    spent: list[Spent] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    """Medians, in seconds."""


def measure_wires(scene: Scene) -> dict[str, Any]:
    """By callers and way: medians over the rounds, and the medians of each round's ratios to `/features`.

    Raises:
        RuntimeError: a way does not answer, or not with the tensors of the others.
    """
    with scene.service("wires", "--only", "features", grpc_port="0") as server:
        ways = [server.target(**scene.query), *server.open_inference(**scene.query)]
        for way in ways:
            scene.warm(way)
        kept = {callers: {way.name: _Kept() for way in ways} for callers in CALLERS}
        digests: set[str] = set()
        for number in range(scene.profile.rounds):
            for callers, by_name in kept.items():
                # Turn about: whoever comes first has the cooler machine.
                for way in ways[number % len(ways) :] + ways[: number % len(ways)]:
                    digests |= _send(scene, way, callers, by_name[way.name])
    if len(digests) != 1:
        raise RuntimeError(f"the ways answer with {len(digests)} different tensors to one picture")
    return {"grpcio": version("grpcio"), "callers": {str(callers): _summed_up(one) for callers, one in kept.items()}}


def _send(scene: Scene, way: Target, callers: int, kept: _Kept) -> set[str]:
    images = scene.profile.images
    cpu, began = way.cpu_seconds(), time.perf_counter()
    answers = scene.driver.load(Load(way, [scene.picture] * images, callers))
    kept.spent.append(Spent(images, time.perf_counter() - began, way.cpu_seconds() - cpu))
    kept.latencies.append(statistics.median(answer.seconds for answer in answers))
    if wrong := {answer.status for answer in answers} - {200}:
        raise RuntimeError(f"{way.name} answers {wrong} to {callers} callers")
    return {answer.digest for answer in answers}


def _summed_up(by_name: dict[str, _Kept]) -> dict[str, Any]:
    first = next(iter(by_name.values()))
    return {
        name: {
            "cpu_ms": statistics.median(spent.cpu_ms for spent in one.spent),
            "cpu_ratio": _ratio([spent.cpu_ms for spent in one.spent], [spent.cpu_ms for spent in first.spent]),
            "latency_ms": 1000 * statistics.median(one.latencies),
            "latency_ratio": _ratio(one.latencies, first.latencies),
            "per_second": statistics.median(spent.per_second for spent in one.spent),
        }
        for name, one in by_name.items()
    }


def _ratio(ours: list[float], firsts: list[float]) -> float:
    return statistics.median(one / first for one, first in zip(ours, firsts, strict=True))
