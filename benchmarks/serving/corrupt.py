"""Damaged pictures among good ones: whose request fails."""

from collections import Counter
from typing import Any

from benchmarks.serving.driver import Load
from benchmarks.serving.pictures import damaged
from benchmarks.serving.scene import Scene
from benchmarks.serving.target import Target

TOGETHER, ROUNDS = 16, 4
"""One of the requests that are sent together is damaged."""


def measure_corrupt(scene: Scene) -> dict[str, Any]:
    """By server: good requests that failed, and what the damaged ones were told."""
    bad = scene.pictures("damaged", damaged(scene.profile.picture))
    pictures = []
    for number in range(ROUNDS):
        pictures += [scene.picture] * (TOGETHER - 1)
        pictures.insert(number * TOGETHER + 5, bad[number % len(bad)])
    targets = [scene.server, *scene.others]
    return {"servers": {target.name: _measure(scene, target, pictures, set(bad)) for target in targets}}


def _measure(scene: Scene, target: Target, pictures: list[str], bad: set[str]) -> dict[str, Any]:
    answers = scene.driver.load(Load(target, pictures, TOGETHER, rounds=True))
    good = [answer for answer in answers if answer.picture not in bad]
    told = Counter(str(answer.status) for answer in answers if answer.picture in bad)
    return {"good": len(good), "good_failed": sum(answer.status != 200 for answer in good), "damaged_told": dict(told)}
