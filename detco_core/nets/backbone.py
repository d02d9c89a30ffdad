"""Backbones by the name a config gives."""

from detco_core.contract.errors import Fault, InvalidDocument
from detco_core.nets.resnet import make_resnet, resnets
from detco_core.nets.stages import StageBackbone

__all__ = ["StageBackbone", "architectures", "make_backbone"]


def architectures() -> tuple[str, ...]:
    """The names `make_backbone` takes."""
    return resnets()


def make_backbone(name: str, in_channels: int = 3) -> StageBackbone:
    """Build a randomly initialised backbone from torch's global generator.

    Args:
        name: a torchvision ResNet.
        in_channels: of the images.

    Raises:
        InvalidDocument: no such network; the message lists those there are.
    """
    if name not in resnets():
        message = f"{name!r} is not one of {', '.join(resnets())}"
        raise InvalidDocument("run config", (Fault("method.backbone", message),))
    return make_resnet(name, in_channels)
