"""Small methods and random views, so that a step takes milliseconds."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from detco_core.contract.config import RunConfig, override
from detco_core.contract.presets import preset
from detco_core.method.detco import DetCo, make_detco
from detco_core.views.pipeline import Views
from tests.networks import narrow_backbone


@pytest.fixture
def small_config() -> Callable[..., RunConfig]:
    """The smoke preset with a batch of 4, a queue of 16 and 16-dimensional embeddings; overrides as keyword `a__b`."""

    def build(**overrides: Any) -> RunConfig:
        small = {"train.batch_size": 4, "method.queue_size": 16, "method.dim": 16}
        return override(preset("smoke"), {**small, **{key.replace("__", "."): v for key, v in overrides.items()}})

    return build


@pytest.fixture
def random_views() -> Callable[..., Views]:
    """Noise as views: `[N, 3, 32, 32]` globals and `[N, 9, 3, 16, 16]` patches."""

    def build(count: int = 4, dtype: torch.dtype = torch.float32, seed: int = 0) -> Views:
        generator = torch.Generator().manual_seed(seed)
        shapes = (count, 3, 32, 32), (count, 3, 32, 32), (count, 9, 3, 16, 16), (count, 9, 3, 16, 16)
        return Views(*(torch.randn(shape, generator=generator, dtype=dtype) for shape in shapes))

    return build


@pytest.fixture
def narrow_detco() -> Callable[[RunConfig], DetCo]:
    """The method in float64 around a fresh narrow backbone."""

    def build(config: RunConfig, seed: int = 0) -> DetCo:
        torch.manual_seed(seed)
        return make_detco(config, narrow_backbone(config.views.channels)).double()

    return build
