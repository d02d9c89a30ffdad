"""Writes a ResNet as a torchvision state dict, and reads such a file back through torchvision itself."""

from collections.abc import Mapping
from pathlib import Path

import torch
import torchvision
from torch import nn
from torchvision import models
from torchvision.models.feature_extraction import create_feature_extractor

from detco_core.export.levels import POOLED, Array
from detco_core.export.reading import Reading, load_into
from detco_core.export.tables import RESNETS
from detco_core.nets.stages import StageBackbone
from detco_core.nets.weights import save_tensors

_NODES = {"layer1": "res2", "layer2": "res3", "layer3": "res4", "layer4": "res5", "flatten": POOLED}


def torchvision_lacks(architecture: str) -> str | None:
    """Why torchvision has no such network; None when it has."""
    return None if architecture in RESNETS else f"torchvision has no {architecture}"


def write_torchvision(backbone: StageBackbone, path: Path) -> None:
    """Write a plain dict of CPU tensors by torchvision's names, without `fc`; loads with `weights_only=True`."""
    save_tensors(backbone.state_dict(), path)


def read_torchvision(backbone: StageBackbone, path: Path) -> Reading:
    """The outputs of torchvision's own network with the file loaded into it, strict in all but `fc`.

    Raises:
        ExportError: naming the keys that are missing, unknown or of another shape.
    """
    network = models.get_model(backbone.architecture, weights=None)
    network.fc = nn.Identity()
    if backbone.in_channels != 3:
        network.conv1 = nn.Conv2d(backbone.in_channels, 64, 7, stride=2, padding=3, bias=False)
    loaded = load_into(network, path, f"torchvision's {backbone.architecture}")
    extractor = create_feature_extractor(loaded, _NODES)

    def run(images: Array) -> Mapping[str, Array]:
        with torch.inference_mode():
            return {name: output.numpy() for name, output in extractor(torch.from_numpy(images)).items()}

    return Reading(levels=run, library=f"torchvision {torchvision.__version__}")
