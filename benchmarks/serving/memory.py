"""Memory of the server's process: idle, after large pictures, and over thousands of pictures of all sizes."""

import statistics
import time
from dataclasses import replace
from typing import Any

from benchmarks.serving.driver import Load
from benchmarks.serving.pictures import jpeg, mixed
from benchmarks.serving.scene import Scene
from benchmarks.serving.target import Target

_SIZES, _LARGEST = 40, 320
_SAMPLES = 20
_LARGE = 12
"""Pictures of the burst, four at once."""
_PATIENCE_MS = 300_000


def measure_memory(scene: Scene) -> dict[str, Any]:
    """Bytes, and the ratios that matter."""
    with scene.service("memory", "--only", "features") as service:
        target = service.target(**scene.query)
        # Large pictures on a busy machine take their time; what is asked here is what they leave behind.
        as_sent = service.target(resize="none", timeout_ms=_PATIENCE_MS)
        scene.warm(target)
        idle = _settled(target, scene.profile.patience)
        large = scene.pictures("large", [jpeg(scene.profile.large)])
        _all_good(scene, Load(as_sent, large * _LARGE, 4))
        top = target.rss()
        after = _settled(target, scene.profile.patience)
        samples = _mixed(scene, as_sent)
    early, late = samples[_SAMPLES // 10 : _SAMPLES // 2], samples[-_SAMPLES // 4 :]
    return {
        "idle": idle,
        "after_the_burst": top,
        "settled": after,
        "settled_over_idle": after / idle,
        "mixed_requests": scene.profile.mixed,
        "mixed_samples": samples,
        "late_over_early": statistics.median(late) / statistics.median(early),
    }


def _mixed(scene: Scene, target: Target) -> list[int]:
    pictures = scene.pictures("mixed", mixed(_SIZES, _LARGEST))
    count = max(1, scene.profile.mixed // _SAMPLES)
    samples = []
    for number in range(_SAMPLES):
        start = number * count
        batch = [pictures[(start + index) % len(pictures)] for index in range(count)]
        # Every other time another level, so that what is cut and kept for it counts too.
        levels = replace(target, path=f"{target.path}&levels={'res5' if number % 2 else 'res3,res4'}")
        _all_good(scene, Load(levels, batch, 4))
        samples.append(target.rss())
    return samples


def _all_good(scene: Scene, load: Load) -> None:
    if wrong := {answer.status for answer in scene.driver.load(load)} - {200}:
        raise RuntimeError(f"the server answers {wrong} to good pictures")


def _settled(target: Target, seconds: float) -> int:
    """What is held when nothing was asked for a while."""
    time.sleep(seconds)
    return target.rss()
