"""Writes a ResNet as the pickle detectron2 takes as `MODEL.WEIGHTS`."""

import os
import pickle
from pathlib import Path

import numpy as np

from detco_core.export.reading import Reading, read_by_table
from detco_core.export.tables import RESNETS, detectron2_table
from detco_core.nets.foreign.detectron2 import to_detectron2
from detco_core.nets.stages import StageBackbone

AUTHOR = "DetCo Server"
# Read by every Python 3; a higher one would only shorten the frame.
_PROTOCOL = 4


def detectron2_lacks(architecture: str) -> str | None:
    """Why detectron2 builds no such network; None when it does."""
    return None if architecture in RESNETS else f"detectron2 builds ResNet, ResNeXt and WideResNet, not {architecture}"


def write_detectron2(backbone: StageBackbone, path: Path) -> None:
    """Write `{"model": arrays, "__author__", "matching_heuristics": True}`.

    Names carry no prefix: `matching_heuristics` makes detectron2 match them by their ends, under `backbone.bottom_up.`
    (FPN) as under `backbone.` and `roi_heads.` (C4).
    """
    arrays = {
        str(to_detectron2(name)): np.array(tensor.detach().numpy(), order="C")
        for name, tensor in backbone.state_dict().items()
    }
    with path.open("wb") as file:
        content = {"model": arrays, "__author__": AUTHOR, "matching_heuristics": True}
        pickle.dump(content, file, protocol=_PROTOCOL)
        file.flush()
        os.fsync(file.fileno())


def read_detectron2(backbone: StageBackbone, path: Path) -> Reading:
    """The file held against detectron2's names and shapes, then read back as an import reads it.

    Raises:
        ExportError: naming the keys that are not as detectron2 has them.
    """
    table = detectron2_table(backbone.architecture, backbone.in_channels)
    return read_by_table(backbone, path, "detectron2", "table of detectron2 0.6", table)
