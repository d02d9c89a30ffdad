"""Backbones by the name a config gives."""

from detco_core.contract.errors import Fault, InvalidDocument
from detco_core.nets.resnet import make_resnet, resnets
from detco_core.nets.stages import StageBackbone
from detco_core.nets.timm import PREFIX, make_timm

__all__ = ["StageBackbone", "make_backbone"]


def make_backbone(name: str, in_channels: int = 3) -> StageBackbone:
    """Build a randomly initialised backbone from torch's global generator.

    Args:
        name: a torchvision ResNet, ResNeXt or WideResNet, or `timm/NAME`.
        in_channels: of the images.

    Raises:
        InvalidDocument: no such network; timm is not installed; or the timm network has no four stages.
    """
    if name.startswith(PREFIX):
        return make_timm(name.removeprefix(PREFIX), in_channels)
    if name not in resnets():
        message = f"{name!r} is not one of {', '.join(resnets())}, and does not begin with {PREFIX}"
        raise InvalidDocument("run config", (Fault("method.backbone", message),))
    return make_resnet(name, in_channels)
