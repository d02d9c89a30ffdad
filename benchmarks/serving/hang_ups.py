"""How long the next caller waits after many have hung up: nobody must compute for those who left."""

import statistics
from typing import Any

from benchmarks.serving.driver import Abandon, Load
from benchmarks.serving.scene import Scene
from benchmarks.serving.target import Target

_MOMENT = 0.3
"""Seconds until they hang up: all are in the server by then, few are answered."""


def measure_hang_ups(scene: Scene) -> dict[str, Any]:
    """By server; the peers have one round, in which each needs seconds."""
    found = {"detco": _measure(scene, scene.server, min(5, scene.profile.rounds))}
    found |= {target.name: _measure(scene, target, 1) for target in scene.others}
    return {"hang_ups": scene.profile.hang_ups, "servers": found}


def _measure(scene: Scene, target: Target, rounds: int) -> dict[str, float]:
    ratios, waits = [], []
    for _ in range(rounds):
        alone = scene.alone(target)
        scene.driver.abandon(Abandon(target, [scene.picture], scene.profile.hang_ups, _MOMENT))
        (answer,) = scene.driver.load(Load(target, [scene.picture]))
        waits.append(answer.seconds)
        ratios.append(answer.seconds / alone)
        if answer.status != 200:
            raise RuntimeError(f"{target.name} answers {answer.status} after callers hung up")
    return {"next_seconds": statistics.median(waits), "ratio": statistics.median(ratios)}
