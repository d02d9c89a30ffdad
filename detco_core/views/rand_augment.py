"""RandAugment (Cubuk et al., 2019) for the "AA" variant of DetCo.

The fourteen operations and their ranges are torchvision's. The paper publishes neither strength nor position; ours are
in docs/decisions/052-rand-augment.md.
"""

import numpy as np

from detco_core.contract.config import ViewsConfig
from detco_core.views.operations import OPERATIONS, SIGNED, Step

NAMES = tuple(name for name in OPERATIONS if name != "invert")
"""In the order that draws refer to."""
TOP_LEVEL = 30
"""Levels run from 0 (nothing, mostly) to this (the most)."""
LEVEL_SPREAD = 0.5
"""Standard deviation of the level around the magnitude asked for."""


def draw_rand_augment(config: ViewsConfig, rng: np.random.Generator) -> tuple[Step, ...]:
    """Draw `rand_augment_ops` operations, with replacement, each at a level around `rand_augment_magnitude`."""
    steps = []
    for _ in range(config.rand_augment_ops):
        name = NAMES[int(rng.integers(len(NAMES)))]
        level = float(np.clip(rng.normal(config.rand_augment_magnitude, LEVEL_SPREAD), 0, TOP_LEVEL))
        sign = -1 if name in SIGNED and rng.random() < 0.5 else 1
        steps.append(Step(name, sign * level / TOP_LEVEL))
    return tuple(steps)
