"""Promotions under load: nobody sees an error, and every answer comes from one version alone."""

import statistics
import time
from collections import Counter
from typing import Any

from benchmarks.serving.answers import Answer
from benchmarks.serving.driver import Driver, Load
from benchmarks.serving.scene import Scene
from benchmarks.serving.service import MODEL, Service

_CALLERS = 4
_EVERY = 1.0
"""Seconds between promotions, or as long as one takes."""


def measure_swaps(scene: Scene) -> dict[str, Any]:
    """Two versions turn about; none is kept when its turn is over, so that every promotion loads."""
    with scene.service("swaps", "--no-worker", bundles=2, max_loaded_models="1") as service:
        scene.warm(service.target(**scene.query))
        known = {number: _digest(scene, service, number) for number in (1, 2)}
        load = Load(
            service.target(**scene.query), [scene.picture], _CALLERS, seconds=_EVERY * (scene.profile.swaps + 1)
        )
        seconds, answers = _swap(scene.driver, service, load, scene.profile.swaps)
    good = [answer for answer in answers if answer.status == 200]
    return {
        "swaps": len(seconds),
        "swap_seconds": statistics.median(seconds),
        "answers": len(answers),
        "failed": dict(Counter(str(answer.status) for answer in answers if answer.status != 200)),
        "by_version": dict(Counter(str(answer.version) for answer in good)),
        "of_no_version": sum(known.get(answer.version or 0) != answer.digest for answer in good),
        "slowest": max((answer.seconds for answer in good), default=0.0),
    }


def _swap(driver: Driver, service: Service, load: Load, swaps: int) -> tuple[list[float], list[Answer]]:
    answers = driver.start(load)
    seconds = []
    for number in range(swaps):
        began = time.monotonic()
        service.promote(2 - number % 2)
        seconds.append(time.monotonic() - began)
        time.sleep(max(0.0, _EVERY - seconds[-1]))
    return seconds, answers()


def _digest(scene: Scene, service: Service, number: int) -> str:
    target = service.target(**scene.query, model=f"{MODEL}:{number}")
    (answer,) = scene.driver.load(Load(target, [scene.picture]))
    if (answer.status, answer.version) != (200, number):
        raise RuntimeError(f"version {number} answers {answer.status} as version {answer.version}")
    return answer.digest
