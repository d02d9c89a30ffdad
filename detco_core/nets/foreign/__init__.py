"""Weights that other programs wrote, read as tensors by the names of our backbones.

To add a layout: a line in `layouts.LAYOUTS`, and its format in `contract/weights.py`.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from detco_core.contract.errors import WeightsError
from detco_core.contract.weights import KeyReport, WeightsFormat
from detco_core.nets.backbone import StageBackbone, make_backbone
from detco_core.nets.foreign.files import open_file
from detco_core.nets.foreign.fit import expected_tensors, fitted, require_complete
from detco_core.nets.foreign.layouts import recognise

__all__ = ["backbone_from_weights", "read_foreign", "require_complete"]


def read_foreign(
    path: Path,
    architecture: str,
    format: WeightsFormat | None = None,
    sha256: str | None = None,
    *,
    in_channels: int = 3,
) -> tuple[dict[str, Tensor], WeightsFormat, KeyReport]:
    """Read the backbone out of a weights file; no code in the file is ever run.

    Args:
        path: a torch file, a detectron2 pickle or a safetensors file.
        architecture: the backbone it must hold: torchvision's name, or `timm/NAME`.
        format: the layout it must have; None: recognised by the keys.
        sha256: `sha256:...` the file must have, when known.
        in_channels: of the images the backbone takes.

    Returns:
        The tensors found, by our backbone's names, of its shapes and dtypes, on the CPU and sharing no memory with the
        file; the layout; and the report. Keys may be missing: that is for the caller to refuse. Counters of batches
        (`num_batches_tracked`), which detectron2 does not keep and only a momentum of None looks at, are zero then
        and are not called missing.

    Raises:
        WeightsError: the file cannot be read as tensors, is another, does not have the layout, or holds another
            network; with the first keys that disagree and what the network looks like.
        InvalidDocument: the architecture is not known.
    """
    expected = expected_tensors(architecture, in_channels)
    opened = open_file(path, sha256)
    found = recognise(opened, expected, format)
    if found is None:
        wanted = architecture if format is None else f"{architecture} laid out as {format}"
        raise WeightsError(f"{path} holds no {wanted}: {_first_keys(opened.tensors, expected)}")
    tensors, report = fitted(str(path), architecture, expected, found, opened.tensors)
    return tensors, found.format, report


def backbone_from_weights(
    path: Path,
    architecture: str,
    format: WeightsFormat | None = None,
    sha256: str | None = None,
    *,
    in_channels: int = 3,
) -> StageBackbone:
    """The whole backbone of a weights file, on the CPU in eval mode; arguments and errors as of `read_foreign`.

    Raises:
        WeightsError: also when keys of the backbone are missing.
    """
    tensors, _, keys = read_foreign(path, architecture, format, sha256, in_channels=in_channels)
    require_complete(str(path), architecture, keys)
    # Its random weights are all replaced: drawing them must not move the caller's random numbers.
    with torch.random.fork_rng(devices=[]):
        backbone = make_backbone(architecture, in_channels)
    backbone.load_state_dict(tensors)
    return backbone.eval()


def _first_keys(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> str:
    if not tensors:
        return "there are no tensors in it"
    # Of all names the least likely to be anything else's.
    probe = "." + max(expected, key=len)
    places = [key.removesuffix(probe) + "." for key in tensors if key.endswith(probe)]
    if places:
        return f"its tensors lie under {' and '.join(places)}: save those of one alone, by their names without it"
    shown = ", ".join(list(tensors)[:3])
    return f"none of its {len(tensors)} keys is known ({shown}, ...); name the architecture and format it really has"
