"""The key encoder's motion against its formula, weight by weight."""

import math

import pytest
import torch
from torch import nn

from detco_core.contract.config import MethodConfig
from detco_core.method.momentum import distance, make_key, momentum_at, move_key


def network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2)).double()


def test_key_starts_equal_and_takes_no_gradient() -> None:
    query = network(0)
    key = make_key(query)
    assert all(torch.equal(k, q) for k, q in zip(key.parameters(), query.parameters(), strict=True))
    assert all(k.data_ptr() != q.data_ptr() for k, q in zip(key.parameters(), query.parameters(), strict=True))
    assert not any(k.requires_grad for k in key.parameters())
    assert all(q.requires_grad for q in query.parameters())


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.999, 1.0])
def test_moves_as_the_formula_says(momentum: float) -> None:
    query, key = network(1), network(0)
    expected = []
    for k, q in zip(key.parameters(), query.parameters(), strict=True):
        pairs = zip(k.flatten().tolist(), q.flatten().tolist(), strict=True)
        expected.append([momentum * a + (1 - momentum) * b for a, b in pairs])
    places = [k.data_ptr() for k in key.parameters()]
    move_key(key, query, momentum)
    for k, values in zip(key.parameters(), expected, strict=True):
        torch.testing.assert_close(k.flatten(), torch.tensor(values, dtype=torch.float64), rtol=1e-12, atol=1e-15)
    assert [k.data_ptr() for k in key.parameters()] == places


def test_many_small_moves_follow_a_resting_query() -> None:
    query, key = network(1), network(0)
    start = distance(key, query).item()
    for _ in range(100):
        move_key(key, query, 0.99)
    assert distance(key, query).item() == pytest.approx(start * 0.99**100, rel=1e-9)


def test_batch_norm_statistics_stay() -> None:
    query, key = network(1), network(0)
    query(torch.randn(2, 3, 3, 3, dtype=torch.float64))
    move_key(key, query, 0.5)
    assert torch.equal(key.get_buffer("1.running_mean"), torch.zeros(4, dtype=torch.float64))


def test_distance_is_relative_to_the_query() -> None:
    query = network(0)
    key = make_key(query)
    assert distance(key, query).item() == 0
    with torch.no_grad():
        for k in key.parameters():
            k.mul_(1.25)
    assert distance(key, query).item() == pytest.approx(0.25)


@pytest.mark.parametrize("step", [0, 1, 7, 19])
def test_a_constant_momentum_is_constant(step: int) -> None:
    assert momentum_at(MethodConfig(momentum=0.99), step, 20) == 0.99


@pytest.mark.parametrize("steps", [1, 2, 100])
def test_the_cosine_starts_at_the_momentum_and_rises_to_one(steps: int) -> None:
    config = MethodConfig(momentum=0.996, momentum_schedule="cosine")
    found = [momentum_at(config, step, steps) for step in range(steps + 1)]
    assert found[0] == pytest.approx(0.996, rel=1e-12)
    assert found[-1] == 1
    assert found == sorted(found)
    for step, momentum in enumerate(found):
        # BYOL, section 3.2: 1 - (1 - tau_base) * (cos(pi k / K) + 1) / 2.
        assert 1 - momentum == pytest.approx(0.004 * (math.cos(math.pi * step / steps) + 1) / 2, abs=1e-12)
