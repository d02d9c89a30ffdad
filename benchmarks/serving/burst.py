"""Many callers at one moment: those who are let in get their answer in time, the others hear when to come back."""

from collections import Counter
from typing import Any

from benchmarks.serving.answers import Answer
from benchmarks.serving.driver import Load
from benchmarks.serving.scene import Scene
from benchmarks.serving.target import Target
from server.features.options import FeatureOptions

DEADLINE = FeatureOptions().timeout_ms / 1000
"""Seconds a request may take that says nothing else."""


def measure_burst(scene: Scene) -> dict[str, Any]:
    """By server."""
    targets = [scene.server, *scene.others]
    found = {target.name: _measure(scene, target) for target in targets}
    return {"burst": scene.profile.burst, "deadline": DEADLINE, "servers": found}


def _measure(scene: Scene, target: Target) -> dict[str, Any]:
    callers = scene.profile.burst
    answers = scene.driver.load(Load(target, [scene.picture] * callers, callers, rounds=True))
    refused = [answer for answer in answers if answer.status == 429]
    return {
        "accepted": sum(answer.status == 200 for answer in answers),
        "refused": len(refused),
        "refused_without_a_time": sum(not _names_a_time(answer) for answer in refused),
        "otherwise": dict(Counter(str(answer.status) for answer in answers if answer.status not in (200, 429))),
        "slowest": max((answer.seconds for answer in answers if answer.status == 200), default=0.0),
    }


def _names_a_time(answer: Answer) -> bool:
    return (answer.retry_after or "").isdecimal()
