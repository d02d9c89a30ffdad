"""The gradient of the composed loss against finite differences, in float64.

On ResNet-18 along a random direction in each part; on a narrow network coordinate by coordinate in every weight tensor,
for every local head and batch norm, with stages and terms left out.
"""

from typing import Any

import pytest
import torch
from torch import Tensor

from detco_core.contract.config import RunConfig, override
from detco_core.method.catalog import make_method
from detco_core.method.detco import DetCo, make_detco
from detco_core.views.pipeline import Views
from tests.networks import narrow_backbone

STEP = 1e-9
"""So short that no ReLU switches and no maximum changes place on the way; float64 still leaves seven digits."""
COORDINATE_STEP = 1e-6
"""Longer, since one coordinate alone changes the loss by little."""
PARTS = (
    "backbone.conv1",
    "backbone.layer1",
    "backbone.layer2",
    "backbone.layer3",
    "backbone.layer4",
    "global_heads",
    "local_heads",
)


@pytest.fixture(scope="module")
def method(tiny_config: RunConfig) -> DetCo:
    torch.manual_seed(0)
    return make_method(override(tiny_config, {"method.dim": 16})).double()


@pytest.fixture(scope="module")
def views() -> Views:
    generator = torch.Generator().manual_seed(1)
    shapes = (4, 3, 32, 32), (4, 3, 32, 32), (4, 9, 3, 16, 16), (4, 9, 3, 16, 16)
    return Views(*(torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes))


def gradients_of(method: DetCo, views: Views) -> dict[str, Tensor]:
    weights = {name: w for name, w in method.query.named_parameters() if w.requires_grad}
    found = torch.autograd.grad(loss_of(method, views), list(weights.values()))
    return dict(zip(weights, found, strict=True))


def loss_of(method: DetCo, views: Views) -> Tensor:
    """With the same deal of the keys each time."""
    torch.manual_seed(3)
    loss: Tensor = method(views).loss
    return loss


@pytest.fixture(scope="module")
def gradients(method: DetCo, views: Views) -> dict[str, Tensor]:
    return gradients_of(method, views)


@pytest.mark.slow
@pytest.mark.parametrize("part", PARTS)
def test_slope_along_a_random_direction(method: DetCo, views: Views, gradients: dict[str, Tensor], part: str) -> None:
    generator = torch.Generator().manual_seed(2)
    weights = {name: w for name, w in method.query.named_parameters() if name.startswith(part)}
    directions = {name: torch.randn(w.shape, generator=generator, dtype=w.dtype) for name, w in weights.items()}
    expected = sum((gradients[name] * directions[name]).sum().item() for name in weights)

    def loss_at(distance: float) -> float:
        with torch.no_grad():
            for name, weight in weights.items():
                weight.add_(directions[name], alpha=distance)
            loss: float = loss_of(method, views).item()
            for name, weight in weights.items():
                weight.sub_(directions[name], alpha=distance)
        return loss

    slope = (loss_at(STEP) - loss_at(-STEP)) / (2 * STEP)
    assert slope == pytest.approx(expected, rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides",
    [
        {},
        {"method.local_head": "wide", "method.batch_norm": "split", "method.batch_norm_group": 2},
        {"method.local_head": "pirl", "method.stage_weights": (0.0, 1.0, 0.5, 0.0)},
        {"method.term_weights": {"g2g": 0.0, "l2l": 0.0, "l2g": 1.0}, "method.stage_weights": (0.3, 0.0, 0.0, 1.0)},
        {"method.term_weights": {"g2g": 2.0, "l2l": 0.0, "l2g": 0.0}, "method.temperature": 0.07},
    ],
    ids=["as published", "wide, split", "pirl, two stages", "l2g only", "g2g only, cold"],
)
def test_slope_of_single_weights(tiny_config: RunConfig, views: Views, overrides: dict[str, Any]) -> None:
    """Of two weights drawn from each tensor: the two sides of a central difference."""
    torch.manual_seed(0)
    config = override(tiny_config, {"method.dim": 8, **overrides})
    method, generator = make_detco(config, narrow_backbone()).double(), torch.Generator().manual_seed(4)
    weights = dict(method.query.named_parameters())
    for name, gradient in gradients_of(method, views).items():
        weight, slopes = weights[name].detach().view(-1), gradient.view(-1)
        for place in torch.randint(len(weight), (2,), generator=generator).tolist():
            kept = weight[place].item()
            with torch.no_grad():
                weight[place] = kept + COORDINATE_STEP
                above = loss_of(method, views).item()
                weight[place] = kept - COORDINATE_STEP
                below = loss_of(method, views).item()
                weight[place] = kept
            slope = (above - below) / (2 * COORDINATE_STEP)
            assert slope == pytest.approx(slopes[place].item(), rel=1e-4, abs=2e-6), name
