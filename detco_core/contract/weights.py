"""What importing foreign weights says: which keys matched, which are missing, which were left over.

Imported weights are a plain dict of tensors by the names of our backbone (torchvision's for a ResNet), without a
classifier: `weights.pth`, loaded with `weights_only=True`.
"""

from dataclasses import dataclass
from typing import Literal

WEIGHTS_FILE = "weights.pth"

WeightsFormat = Literal[
    "detco", "moco", "openselfsup", "dino", "detectron2", "torchvision", "timm", "mmdetection", "checkpoint"
]
"""Layouts of keys that are recognised: the official DetCo files, MoCo's `module.encoder_q.`, OpenSelfSup and MMSelfSup,
DINO's teacher, detectron2's pickle, torchvision, timm, an mmdetection detector, and a checkpoint of this program."""


@dataclass(frozen=True, kw_only=True, slots=True)
class KeyReport:
    """Keys by our backbone's names; of `unexpected` ones by the file's."""

    matched: tuple[str, ...]
    missing: tuple[str, ...]
    """Of the backbone, absent from the file; not batch norm's counters, which are zero then."""
    unexpected: tuple[str, ...]
    """In the file and no part of the backbone: classifier, heads, queues, a detector's other parts."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WeightsReport:
    """The report of an import job; the tensors are its artifact `weights.pth`."""

    architecture: str
    channels: int = 3
    """Of the images the backbone takes."""
    format: WeightsFormat
    digest: str
    """`sha256:...` of the tensors (`detco_core.nets.weights.state_digest`)."""
    keys: KeyReport
