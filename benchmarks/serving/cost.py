"""What an image costs: processor time over the bare runtime's, and images a second beside the peers'."""

import statistics
import time
from pathlib import Path
from typing import Any

from benchmarks.serving.driver import Load
from benchmarks.serving.floor import floor
from benchmarks.serving.scene import Scene
from benchmarks.serving.target import Spent, Target


def measure_cost(scene: Scene) -> dict[str, Any]:
    """By callers: medians over the rounds, and the medians of each round's ratios."""
    targets = [scene.server, *scene.others]
    rounds: dict[int, list[dict[str, Spent]]] = {callers: [] for callers in scene.profile.callers}
    with floor(scene.model, scene.profile.side, Path(scene.picture), scene.device) as bare:
        for number in range(scene.profile.rounds):
            for callers, kept in rounds.items():
                spent = {"floor": bare.run(scene.profile.images)}
                # Turn about: whoever comes first has the cooler machine.
                for target in targets[number % len(targets) :] + targets[: number % len(targets)]:
                    spent[target.name] = _spend(scene, target, callers)
                kept.append(spent)
    by_callers = {str(callers): _summed_up(kept) for callers, kept in rounds.items()}
    return {"callers": by_callers, "peers_missing": scene.failed}


def _spend(scene: Scene, target: Target, callers: int) -> Spent:
    images = scene.profile.images
    cpu, began = target.cpu_seconds(), time.perf_counter()
    answers = scene.driver.load(Load(target, [scene.picture] * images, callers))
    spent = Spent(images, time.perf_counter() - began, target.cpu_seconds() - cpu)
    if wrong := {answer.status for answer in answers} - {200}:
        raise RuntimeError(f"{target.name} answers {wrong} to {callers} callers")
    return spent


def _summed_up(rounds: list[dict[str, Spent]]) -> dict[str, Any]:
    return {
        name: {
            "cpu_ms": statistics.median(spent[name].cpu_ms for spent in rounds),
            "cpu_ratio": statistics.median(spent[name].cpu_ms / spent["floor"].cpu_ms for spent in rounds),
            "per_second": statistics.median(spent[name].per_second for spent in rounds),
            "ours_over_it": statistics.median(spent["detco"].per_second / spent[name].per_second for spent in rounds),
        }
        for name in rounds[0]
    }
