"""Writes a backbone as a torchvision state dict, and reads such a file back through torchvision itself."""

from collections.abc import Mapping
from pathlib import Path
from textwrap import shorten

import torch
from torch import Tensor, nn
from torchvision import models
from torchvision.models.feature_extraction import create_feature_extractor

from detco_core.contract.errors import ExportError
from detco_core.export.levels import POOLED, Array, Levels
from detco_core.nets.backbone import StageBackbone
from detco_core.nets.weights import save_tensors

_NODES = {"layer1": "res2", "layer2": "res3", "layer3": "res4", "layer4": "res5", "flatten": POOLED}


def write_torchvision(backbone: StageBackbone, path: Path) -> None:
    """Write a plain dict of CPU tensors by torchvision's names, without `fc`; loads with `weights_only=True`."""
    save_tensors(backbone.state_dict(), path)


def read_torchvision(architecture: str, path: Path) -> Levels:
    """The outputs of torchvision's own network with the file loaded into it, strict in all but `fc`.

    Raises:
        ExportError: naming the keys that are missing, unknown or of another shape.
    """
    network = models.get_model(architecture, weights=None)
    network.fc = nn.Identity()
    tensors: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        reason = shorten(str(error), 300)
        raise ExportError(f"{path.name} does not load into torchvision's {architecture}: {reason}") from error
    extractor = create_feature_extractor(network.eval(), _NODES)

    def run(images: Array) -> Mapping[str, Array]:
        with torch.inference_mode():
            return {name: output.numpy() for name, output in extractor(torch.from_numpy(images)).items()}

    return run
