"""Small methods and random views, so that a step takes milliseconds."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torchvision.models import ResNet, resnet18

from detco_core.contract.config import RunConfig, override
from detco_core.contract.presets import preset
from detco_core.method.detco import DetCo, make_detco
from detco_core.nets.resnet import ResNetBackbone
from detco_core.views.pipeline import Views


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


@pytest.fixture(scope="session")
def narrow_resnet() -> ResNet:
    """ResNet-18's plan with 4 to 32 channels and one convolution a stage."""
    network = resnet18()
    network.conv1, network.bn1 = nn.Conv2d(3, 4, 7, 2, 3, bias=False), nn.BatchNorm2d(4)
    for number, (inside, outside) in enumerate(((4, 4), (4, 8), (8, 16), (16, 32)), start=1):
        convolution = nn.Conv2d(inside, outside, 3, 1 if number == 1 else 2, 1, bias=False)
        block = nn.Sequential(convolution, nn.BatchNorm2d(outside), nn.ReLU(inplace=True))
        setattr(network, f"layer{number}", nn.Sequential(block))
    return network


@pytest.fixture
def narrow_detco(narrow_resnet: ResNet) -> Callable[[RunConfig], DetCo]:
    """The method in float64 around a fresh narrow backbone."""

    def build(config: RunConfig, seed: int = 0) -> DetCo:
        torch.manual_seed(seed)
        for module in narrow_resnet.modules():
            if isinstance(module, nn.Conv2d | nn.BatchNorm2d):
                module.reset_parameters()
        return make_detco(config, ResNetBackbone("narrow", copy.deepcopy(narrow_resnet))).double()

    return build
