"""How RandAugment's operations are drawn."""

import numpy as np
import pytest

from detco_core.contract.config import ViewsConfig
from detco_core.views.operations import SIGNED
from detco_core.views.rand_augment import NAMES, TOP_LEVEL, draw_rand_augment


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(seed))


def test_draws_are_a_function_of_the_generator() -> None:
    first, again, other = (draw_rand_augment(ViewsConfig(), rng(seed)) for seed in (1, 1, 2))
    assert first == again != other


def test_every_operation_is_drawn_at_a_level_around_the_magnitude() -> None:
    generator, config = rng(8), ViewsConfig(rand_augment_ops=2, rand_augment_magnitude=10)
    steps = [step for _ in range(2000) for step in draw_rand_augment(config, generator)]
    assert len(steps) == 4000
    levels = np.array([abs(step.share) for step in steps]) * TOP_LEVEL
    assert levels.mean() == pytest.approx(10, abs=0.05)
    assert levels.std() == pytest.approx(0.5, abs=0.05)
    for name in NAMES:
        shares = [step.share for step in steps if step.name == name]
        assert len(shares) > 200
        backwards = sum(share < 0 for share in shares) / len(shares)
        assert backwards == pytest.approx(0.5 if name in SIGNED else 0.0, abs=0.12)


@pytest.mark.parametrize("magnitude", [0, 30])
def test_levels_stay_on_the_scale(magnitude: int) -> None:
    config, generator = ViewsConfig(rand_augment_magnitude=magnitude), rng(9)
    shares = [abs(step.share) for _ in range(100) for step in draw_rand_augment(config, generator)]
    assert min(shares) >= 0
    assert max(shares) <= 1
