"""Writes a ResNet as the state dict mmdetection takes as `init_cfg=dict(type="Pretrained", checkpoint=...)`."""

from pathlib import Path

from detco_core.export.reading import Reading, read_by_table
from detco_core.export.tables import RESNETS, mmdetection_table
from detco_core.nets.stages import StageBackbone
from detco_core.nets.weights import save_tensors


def mmdetection_lacks(architecture: str) -> str | None:
    """Why mmdetection builds no such network; None when it does."""
    if architecture not in RESNETS:
        return f"mmdetection builds ResNet and ResNeXt, not {architecture}"
    if RESNETS[architecture].width > 64:
        return f"mmdetection's ResNet has no width to set, so it cannot be a {architecture}"
    return None


def write_mmdetection(backbone: StageBackbone, path: Path) -> None:
    """Write a plain dict of CPU tensors by the backbone's names, without a prefix; loads with `weights_only=True`."""
    save_tensors(backbone.state_dict(), path)


def read_mmdetection(backbone: StageBackbone, path: Path) -> Reading:
    """The file held against mmdetection's names and shapes, then read back as an import reads it.

    Raises:
        ExportError: naming the keys that are not as mmdetection has them.
    """
    table = mmdetection_table(backbone.architecture, backbone.in_channels)
    return read_by_table(backbone, path, "mmdetection", "table of mmdetection 3.3", table)
