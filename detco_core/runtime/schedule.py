"""The learning rate at each step: linear warm-up, then half a cosine down to zero."""

import math

from detco_core.contract.config import OptimConfig


def learning_rate(config: OptimConfig, step: int, steps: int) -> float:
    """The rate of optimizer step `step` (from 0) of `steps`.

    During warm-up it is `lr * (step + 1) / warmup_steps`; the cosine then starts at `lr` and would reach 0 at `steps`,
    one step after the last. The position is the step and not the epoch, so that short runs decay smoothly too.
    """
    if step < config.warmup_steps:
        return config.lr * ((step + 1) / config.warmup_steps)
    done = (step - config.warmup_steps) / max(1, steps - config.warmup_steps)
    return config.lr * 0.5 * (1.0 + math.cos(math.pi * min(1.0, done)))
