"""Networks small enough for a step in milliseconds, also in float64."""

import torch
from torch import nn
from torchvision.models import resnet18

from detco_core.nets.resnet import ResNetBackbone
from detco_core.nets.timm import TimmBackbone


def narrow_backbone(in_channels: int = 3) -> ResNetBackbone:
    """ResNet-18's plan with 4 to 32 channels and one convolution a stage; weights from torch's global generator."""
    with torch.device("meta"):
        network = resnet18()
    network.conv1, network.bn1 = nn.Conv2d(in_channels, 4, 7, 2, 3, bias=False), nn.BatchNorm2d(4)
    for number, (inside, outside) in enumerate(((4, 4), (4, 8), (8, 16), (16, 32)), start=1):
        convolution = nn.Conv2d(inside, outside, 3, 1 if number == 1 else 2, 1, bias=False)
        block = nn.Sequential(convolution, nn.BatchNorm2d(outside), nn.ReLU(inplace=True))
        setattr(network, f"layer{number}", nn.Sequential(block))
    return ResNetBackbone("narrow", network)


def narrow_convnext() -> TimmBackbone:
    """timm's ConvNeXt, which has layer norms only, with 4 to 32 channels and one block a stage."""
    import timm

    network = timm.create_model("convnext_atto", depths=(1, 1, 1, 1), dims=(4, 8, 16, 32), num_classes=0)
    return TimmBackbone("narrow_convnext", network, 3)
