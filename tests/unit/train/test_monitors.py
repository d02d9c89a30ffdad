"""Metric values against their definitions."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch.nn import functional

from detco_core.contract.config import RunConfig
from detco_core.contract.metrics import family
from detco_core.train.monitors import effective_rank, queue_values, spread, watch
from detco_core.train.state import make_stateful
from detco_core.train.step import Stepper
from detco_core.views.pipeline import Views


def test_spread_in_numpy() -> None:
    embedding = functional.normalize(torch.randn(6, 4, dtype=torch.float64), dim=1)
    assert spread(embedding).item() == pytest.approx(float(np.mean(np.std(embedding.numpy(), axis=0))))


def test_spread_of_collapse_and_of_a_full_sphere() -> None:
    assert spread(torch.ones(8, 16)).item() == 0
    everywhere = functional.normalize(torch.randn(20_000, 64), dim=1)
    assert spread(everywhere).item() == pytest.approx(1 / 8, rel=0.01)


def test_a_batch_of_one_has_no_spread() -> None:
    assert spread(torch.ones(1, 4)).item() == 0


def slow_rank(embedding: torch.Tensor) -> float:
    """RankMe, Garrido et al. 2023, equation 2."""
    singular = np.linalg.svd(embedding.numpy(), compute_uv=False)
    entropy = 0.0
    for value in singular:
        share = float(value / singular.sum())
        entropy -= share * math.log(share) if share > 0 else 0.0
    return math.exp(entropy)


@pytest.mark.parametrize("shape", [(20, 6), (6, 20), (8, 8), (1, 5)])
def test_effective_rank_by_singular_values(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    embedding = functional.normalize(torch.randn(shape, dtype=torch.float64), dim=1)
    # Squared on the way, so half of the digits remain of a singular value that is zero.
    assert effective_rank(embedding).item() == pytest.approx(slow_rank(embedding), rel=1e-6)


def test_effective_rank_at_both_ends_and_of_many_at_once() -> None:
    one = torch.ones(16, 8, dtype=torch.float64)
    full = torch.eye(8, dtype=torch.float64).repeat(2, 1)
    assert effective_rank(torch.stack([one, full])).tolist() == pytest.approx([1, 8], rel=1e-5)


@pytest.mark.parametrize(
    ("images", "age", "filled"), [(0, 0, 0.0), (4, 1, 0.125), (28, 7, 0.875), (32, 8, 1.0), (4000, 8, 1.0)]
)
def test_age_of_the_queue(images: int, age: int, filled: float) -> None:
    assert queue_values(images, batch=4, size=32) == {"queue_age": age, "queue_filled": filled}


def test_values_are_those_of_the_step(tiny_config: Callable[..., RunConfig]) -> None:
    config, cpu = tiny_config(), torch.device("cpu")
    run = make_stateful(config, cpu)
    shapes = (4, 3, 32, 32), (4, 3, 32, 32), (4, 9, 3, 16, 16), (4, 9, 3, 16, 16)
    outcome = Stepper(config=config, device=cpu, run=run, model=run.method, steps=1).gradients(
        Views(*(torch.randn(shape) for shape in shapes))
    )
    values = watch(run.method, outcome)
    assert values["loss"] == pytest.approx(outcome.loss.item())
    squares = sum(p.grad.double().square().sum().item() for p in run.method.query.parameters() if p.grad is not None)
    assert values["grad_norm"] == pytest.approx(math.sqrt(squares), rel=1e-4)
    assert values["ema_distance"] == 0
    weights = dict(zip(run.method.stages, (0.1, 0.4, 0.7, 1.0), strict=True))
    terms = {name: value for name, value in values.items() if name.startswith("loss/")}
    assert sum(weights[name.split("/")[2]] * value for name, value in terms.items()) == pytest.approx(values["loss"])
    assert all(-1 <= value <= 1 for name, value in values.items() if "similarity" in name)
    assert all(0 <= value <= 1 for name, value in values.items() if "accuracy" in name)
    assert values["embedding_std/local/res3"] == pytest.approx(spread(outcome.queries.locals[1]).item(), rel=1e-5)
    assert values["effective_rank/global/res5"] == pytest.approx(
        slow_rank(outcome.queries.globals[3].double()), rel=1e-5
    )
    assert all(family(name) for name in values)
