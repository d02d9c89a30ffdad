"""How the keys of a weights file are arranged, recognised by the keys themselves."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from detco_core.contract.weights import WeightsFormat
from detco_core.nets.foreign.detectron2 import from_detectron2
from detco_core.nets.foreign.files import TEACHER, Opened

Rename = Callable[[str], str | None]
"""A key of the file -> our backbone's name, or None when it is no part of the backbone."""


@dataclass(frozen=True, slots=True)
class Layout:
    """One arrangement; `formats` are the names a person may call it by, the first of them when nothing tells more."""

    formats: tuple[WeightsFormat, ...]
    rename: Rename


@dataclass(frozen=True, slots=True)
class Recognised:
    """The layout of one file: `names` maps its keys to ours, for all that could be a part of the backbone."""

    format: WeightsFormat
    names: Mapping[str, str]


def _prefix(prefix: str) -> Rename:
    return lambda key: key.removeprefix(prefix) if key.startswith(prefix) else None


LAYOUTS = (
    Layout(("checkpoint",), _prefix("query.backbone.")),
    # Also the PyTorch re-implementation of DetCo that grew out of MoCo.
    Layout(("moco",), _prefix("encoder_q.")),
    Layout(("moco",), _prefix("base_encoder.")),  # version 3
    # A Sequential of backbone and neck; the second, an older query backbone; the third, extracted or MMSelfSup's.
    Layout(("openselfsup",), _prefix("encoder_q.0.")),
    Layout(("openselfsup",), _prefix("backbone_q.")),
    Layout(("openselfsup", "mmdetection", "dino"), _prefix("backbone.")),
    Layout(("torchvision",), _prefix("backbone.body.")),  # its detectors
    Layout(("detectron2", "detco"), from_detectron2),
    # The official DetCo files, torchvision's and timm's have the same bare names for a ResNet.
    Layout(("torchvision", "timm", "detco", "openselfsup", "mmdetection", "dino"), lambda key: key),
)
_WRAPPINGS = ("module.", "_orig_mod.")
"""Of DistributedDataParallel, and of torch.compile."""
_DETECTOR_PARTS = ("neck.lateral_convs.", "neck.fpn_convs.", "rpn_head.", "roi_head.", "bbox_head.", "mask_head.")


def recognise(opened: Opened, expected: Mapping[str, Tensor], format: WeightsFormat | None = None) -> Recognised | None:
    """The layout that makes most keys of the file names of the backbone; None when no layout makes any.

    Args:
        opened: the file.
        expected: the backbone's state by our names.
        format: only the layouts that go by this name.
    """
    candidates = [
        (layout, _renamed(opened.tensors, expected, layout.rename))
        for layout in LAYOUTS
        if format is None or format in layout.formats
    ]
    layout, names = max(candidates, key=lambda candidate: _known(candidate[1], expected))
    if not _known(names, expected):
        return None
    return Recognised(format or _told_apart(layout, opened), names)


def _renamed(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor], rename: Rename) -> dict[str, str]:
    """File key -> our name for every key that lies under one of the backbone's own modules."""
    roots = {name.split(".")[0] for name in expected}
    renamed = {key: rename(_bare(key)) for key in tensors}
    return {key: name for key, name in renamed.items() if name is not None and name.split(".")[0] in roots}


def _bare(key: str) -> str:
    """Without what was laid around the network, and around that."""
    while key.startswith(_WRAPPINGS):
        key = key.partition(".")[2]
    return key


def _known(names: Mapping[str, str], expected: Mapping[str, Tensor]) -> int:
    return sum(name in expected for name in names.values())


def _told_apart(layout: Layout, opened: Opened) -> WeightsFormat:
    """Which of the formats of one layout a file most likely is."""
    keys = tuple(map(_bare, opened.tensors))
    if opened.wrapper == TEACHER:
        return "dino"
    if layout.formats[0] == "openselfsup" and any(key.startswith(_DETECTOR_PARTS) for key in keys):
        return "mmdetection"
    if layout.formats[0] == "torchvision" and len(layout.formats) > 1:
        if opened.kind == "safetensors" or not any(key.startswith(("conv1.", "layer1.")) for key in keys):
            return "timm"
        if opened.wrapper == "state_dict" and not any(key.startswith("fc.") for key in keys):
            return "detco"
    return layout.formats[0]
