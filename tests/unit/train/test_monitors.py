"""Metric values against their definitions."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch.nn import functional

from detco_core.contract.config import RunConfig
from detco_core.method.catalog import make_method
from detco_core.method.detco import Contrasts
from detco_core.train.monitors import spread, watch
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


def test_values_are_those_of_the_step(tiny_config: Callable[..., RunConfig]) -> None:
    method = make_method(tiny_config())
    shapes = (4, 3, 32, 32), (4, 3, 32, 32), (4, 9, 3, 16, 16), (4, 9, 3, 16, 16)
    output: Contrasts = method(Views(*(torch.randn(shape) for shape in shapes)))
    values = watch(method, output, torch.tensor(2.5))
    assert values["loss"] == pytest.approx(output.loss.item())
    assert values["grad_norm"] == 2.5
    assert values["ema_distance"] == 0
    weights = dict(zip(method.stages, (0.1, 0.4, 0.7, 1.0), strict=True))
    terms = {name: value for name, value in values.items() if name.startswith("loss/")}
    assert sum(weights[name.split("/")[2]] * value for name, value in terms.items()) == pytest.approx(values["loss"])
    assert all(-1 <= value <= 1 for name, value in values.items() if "similarity" in name)
    assert all(0 <= value <= 1 for name, value in values.items() if "accuracy" in name)
