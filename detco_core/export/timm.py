"""Writes a backbone as a timm state dict, and reads such a file back through timm where it is installed."""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from detco_core.export.levels import OUTPUTS, Array
from detco_core.export.reading import Reading, load_into, read_by_table
from detco_core.export.tables import RESNETS, mmdetection_table
from detco_core.nets.stages import StageBackbone
from detco_core.nets.weights import save_tensors

PREFIX = "timm/"


def timm_lacks(architecture: str) -> str | None:
    """Why timm has no such network; None when it has: its own, and torchvision's ResNets under their own names."""
    known = architecture.startswith(PREFIX) or architecture in RESNETS
    return None if known else f"timm has no {architecture}"


def write_timm(backbone: StageBackbone, path: Path) -> None:
    """Write a plain dict of CPU tensors by timm's names, without a classifier; loads with `weights_only=True`."""
    save_tensors(backbone.state_dict(), path)


def read_timm(backbone: StageBackbone, path: Path) -> Reading:
    """The outputs of timm's own network, made without a classifier, with the file loaded into it.

    Without timm, the file is held against its names, which for a ResNet are mmdetection's too.

    Raises:
        ExportError: naming the keys that are missing, unknown or of another shape.
    """
    if find_spec("timm") is None:
        table = mmdetection_table(backbone.architecture, backbone.in_channels)
        return read_by_table(backbone, path, "timm", "table of timm 1.0", table)
    import timm

    name = backbone.architecture.removeprefix(PREFIX)
    network = timm.create_model(name, pretrained=False, num_classes=0, in_chans=backbone.in_channels)
    loaded: Any = load_into(network, path, f"timm's {name}", whole=False)

    def run(images: Array) -> Mapping[str, Array]:
        with torch.inference_mode():
            maps = loaded.forward_intermediates(torch.from_numpy(images), intermediates_only=True)[-4:]
            outputs = (*maps, maps[-1].mean((2, 3)))
            return {output: values.numpy() for output, values in zip(OUTPUTS, outputs, strict=True)}

    return Reading(levels=run, library=f"timm {timm.__version__}")
