"""The learning rate against its definition."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detco_core.contract.config import OptimConfig
from detco_core.runtime.schedule import learning_rate


def test_without_warm_up_it_is_half_a_cosine() -> None:
    config = OptimConfig(lr=0.03)
    found = [learning_rate(config, step, 10) for step in range(10)]
    assert found == pytest.approx([0.015 * (1 + math.cos(math.pi * step / 10)) for step in range(10)])
    assert found[0] == 0.03
    assert learning_rate(config, 5, 10) == pytest.approx(0.015)


def test_warm_up_climbs_in_equal_steps_to_the_full_rate() -> None:
    config = OptimConfig(lr=0.4, warmup_steps=4)
    assert [learning_rate(config, step, 100) for step in range(5)] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4])


@given(st.integers(0, 50), st.integers(1, 500))
def test_falls_after_warm_up_and_is_never_zero_or_above_the_rate(warmup: int, steps: int) -> None:
    config = OptimConfig(lr=0.03, warmup_steps=warmup)
    rates = [learning_rate(config, step, steps) for step in range(steps)]
    assert all(0 < rate <= 0.03 for rate in rates)
    after = rates[warmup:]
    assert after == sorted(after, reverse=True)


def test_ends_at_zero() -> None:
    assert learning_rate(OptimConfig(), 1000, 1000) == pytest.approx(0.0)
