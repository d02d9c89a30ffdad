"""A torchvision ResNet with its four stages tapped: images in, the maps of res2..res5 out.

N batch, C channels of a stage, H and W of the image in pixels.
"""

from typing import cast

from torch import Tensor, nn
from torchvision import models

from detco_core.contract.errors import Fault, InvalidDocument

_FAMILIES = ("resnet*", "resnext*", "wide_resnet*")


class StageBackbone(nn.Module):
    """The stem and the four stages of a ResNet; its `state_dict()` has torchvision's names, without `fc`.

    Attributes:
        architecture: torchvision's name, e.g. `resnet50`.
        channels: C of res2..res5.
        strides: pixels of the image per cell of res2..res5.
    """

    strides = (4, 8, 16, 32)

    def __init__(self, architecture: str, network: models.ResNet) -> None:
        super().__init__()
        self.architecture = architecture
        self.conv1 = network.conv1
        self.bn1 = network.bn1
        self.relu = network.relu
        self.maxpool = network.maxpool
        self.layer1 = network.layer1
        self.layer2 = network.layer2
        self.layer3 = network.layer3
        self.layer4 = network.layer4

    @property
    def stages(self) -> tuple[nn.Module, ...]:
        """The modules that compute res2..res5, in order."""
        return self.layer1, self.layer2, self.layer3, self.layer4

    @property
    def channels(self) -> tuple[int, ...]:
        return tuple(_width(stage) for stage in self.stages)

    def forward(self, x: Tensor, depth: int = 4) -> tuple[Tensor, ...]:
        """Compute the first `depth` stages.

        Args:
            x: `[N, 3, H, W]` float, normalised as the views are.
            depth: 1 computes res2 only, 4 all of res2..res5.

        Returns:
            One `[N, C, ceil(H / stride), ceil(W / stride)]` map per stage.
        """
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        maps = []
        for stage in self.stages[:depth]:
            x = stage(x)
            maps.append(x)
        return tuple(maps)


def architectures() -> tuple[str, ...]:
    """The names `make_backbone` takes."""
    return tuple(sorted(models.list_models(models, include=_FAMILIES)))


def make_backbone(name: str) -> StageBackbone:
    """Build a randomly initialised backbone from torch's global generator.

    Raises:
        InvalidDocument: `name` is not a torchvision ResNet; the message lists those there are.
    """
    if name not in architectures():
        message = f"{name!r} is not one of {', '.join(architectures())}"
        raise InvalidDocument("run config", (Fault("method.backbone", message),))
    return StageBackbone(name, cast(models.ResNet, models.get_model(name, weights=None)))


def _width(stage: nn.Module) -> int:
    """Output channels of a stage: those of the last convolution of its last block, which has no shortcut of its own."""
    block = list(stage.children())[-1]
    return [module.out_channels for module in block.modules() if isinstance(module, nn.Conv2d)][-1]
