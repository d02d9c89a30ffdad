"""torchvision's ResNet, ResNeXt and WideResNet with their four stages tapped."""

from collections.abc import Iterator
from itertools import chain
from typing import cast

from torch import Tensor, nn
from torchvision import models

from detco_core.nets.stages import StageBackbone

_FAMILIES = ("resnet*", "resnext*", "wide_resnet*")


class ResNetBackbone(StageBackbone):
    """The stem and the four stages of a ResNet; its `state_dict()` has torchvision's names, without `fc`."""

    strides = (4, 8, 16, 32)

    def __init__(self, architecture: str, network: models.ResNet) -> None:
        super().__init__()
        self.architecture = architecture
        self.in_channels = network.conv1.in_channels
        self.conv1 = network.conv1
        self.bn1 = network.bn1
        self.relu = network.relu
        self.maxpool = network.maxpool
        self.layer1 = network.layer1
        self.layer2 = network.layer2
        self.layer3 = network.layer3
        self.layer4 = network.layer4
        self.channels = tuple(_width(stage) for stage in self.stages)

    @property
    def stages(self) -> tuple[nn.Module, ...]:
        """The modules that compute res2..res5, in order."""
        return self.layer1, self.layer2, self.layer3, self.layer4

    def forward(self, x: Tensor, depth: int = 4) -> tuple[Tensor, ...]:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        maps = []
        for stage in self.stages[:depth]:
            x = stage(x)
            maps.append(x)
        return tuple(maps)

    def idle(self, depth: int) -> Iterator[nn.Parameter]:
        return chain.from_iterable(stage.parameters() for stage in self.stages[depth:])


def resnets() -> tuple[str, ...]:
    """The names torchvision has for them."""
    return tuple(sorted(models.list_models(models, include=_FAMILIES)))


def make_resnet(name: str, in_channels: int) -> ResNetBackbone:
    """One of `resnets()` with random weights; the first convolution is made anew for other than 3 channels."""
    network = cast(models.ResNet, models.get_model(name, weights=None))
    if in_channels != network.conv1.in_channels:
        first = network.conv1
        network.conv1 = nn.Conv2d(in_channels, first.out_channels, 7, stride=2, padding=3, bias=False)
        # As torchvision draws it.
        nn.init.kaiming_normal_(network.conv1.weight, mode="fan_out", nonlinearity="relu")
    return ResNetBackbone(name, network)


def _width(stage: nn.Module) -> int:
    """Output channels of a stage: those of the last convolution of its last block, which has no shortcut of its own."""
    block = list(stage.children())[-1]
    return [module.out_channels for module in block.modules() if isinstance(module, nn.Conv2d)][-1]
