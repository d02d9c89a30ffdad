"""The gradient of the composed loss against finite differences, in float64."""

import pytest
import torch
from torch import Tensor

from detco_core.contract.config import RunConfig, override
from detco_core.method.catalog import make_method
from detco_core.method.detco import DetCo
from detco_core.views.pipeline import Views

STEP = 1e-9
"""So short that no ReLU switches and no maximum changes place on the way; float64 still leaves seven digits."""
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
    """The key encoder is held still: the gradient does not pass through its motion, differences would."""
    torch.manual_seed(0)
    config = override(tiny_config, {"method.momentum": 1.0, "method.dim": 16})
    return make_method(config).double()


@pytest.fixture(scope="module")
def views() -> Views:
    generator = torch.Generator().manual_seed(1)
    shapes = (4, 3, 32, 32), (4, 3, 32, 32), (4, 9, 3, 16, 16), (4, 9, 3, 16, 16)
    return Views(*(torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes))


@pytest.fixture(scope="module")
def gradients(method: DetCo, views: Views) -> dict[str, Tensor]:
    weights = dict(method.query.named_parameters())
    found = torch.autograd.grad(method(views).loss, list(weights.values()))
    return dict(zip(weights, found, strict=True))


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
            loss: float = method(views).loss.item()
            for name, weight in weights.items():
                weight.sub_(directions[name], alpha=distance)
        return loss

    slope = (loss_at(STEP) - loss_at(-STEP)) / (2 * STEP)
    assert slope == pytest.approx(expected, rel=1e-5)
