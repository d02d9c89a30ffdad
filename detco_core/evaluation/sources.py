"""Opens what an evaluation is about as a frozen backbone, whatever it comes from.

N batch, B channels of the image, C channels of a stage, H and W of the image in pixels.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from detco_core.contract.config import STAGES, ViewsConfig
from detco_core.contract.evaluations import Source
from detco_core.nets.backbone import StageBackbone, make_backbone
from detco_core.nets.foreign import backbone_from_weights
from detco_core.nets.weights import backbone_from_checkpoint

Values = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, slots=True)
class FrozenBackbone:
    """A backbone that is only looked at, on the CPU."""

    description: str
    """What it is, for reports."""
    mean: tuple[float, ...]
    """Of its input, per channel, of values in 0..1."""
    std: tuple[float, ...]
    pooled: Callable[[Tensor, str], Values]
    """Images `[N, B, H, W]` float32, normalised, and the name of a stage -> its map averaged over space, `[N, C]`."""
    channels: int = 3
    """B: what the images are read with; 3 and 8 bits is RGB."""
    bit_depth: Literal[8, 16] = 8


def open_source(source: Source, read_as: ViewsConfig | None = None) -> FrozenBackbone:
    """Open the source of an evaluation.

    Args:
        source: whatever it comes from.
        read_as: how images are read for one that does not say it itself, random or weights; None: 8-bit RGB.

    Raises:
        CheckpointError: a checkpoint is missing, damaged, or not what it should be.
        WeightsError: a weights file cannot be read, or holds another network.
        BundleError: a bundle is incomplete.
        InvalidDocument: the architecture is not known.
    """
    views = read_as or ViewsConfig()
    if source.kind == "random":
        return _from_random(source, views)
    return _from_weights(source, views) if source.kind == "weights" else _OPENERS[source.kind](source)


def _from_checkpoint(source: Source) -> FrozenBackbone:
    backbone, info = backbone_from_checkpoint(_path(source), source.sha256)
    description = f"{backbone.architecture} of a {info.config.method.name} checkpoint, step {info.step}"
    return _from_torch(description, backbone, info.config.views)


def _from_random(source: Source, views: ViewsConfig) -> FrozenBackbone:
    # Seeded as a pretraining run, which builds its backbone first: the weights a run of this seed starts from.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(source.seed)
        backbone = make_backbone(source.backbone, views.channels)
    return _from_torch(f"{source.backbone}, randomly initialised with seed {source.seed}", backbone, views)


def _from_weights(source: Source, views: ViewsConfig) -> FrozenBackbone:
    backbone = backbone_from_weights(
        _path(source), source.backbone, source.format, source.sha256, in_channels=views.channels
    )
    return _from_torch(f"{source.backbone} of a weights file", backbone, views)


def _from_bundle(source: Source) -> FrozenBackbone:
    # Only bundles need ONNX Runtime, which is not installed everywhere a checkpoint is evaluated.
    from detco_core.inference.sessions.execution import CPU, Execution
    from detco_core.inference.sessions.session import Session

    session = Session.open(_path(source), Execution(providers=(CPU,)))
    spec = session.manifest.input

    def pooled(images: Tensor, stage: str) -> Values:
        level = session.manifest.level(stage).name
        means: Values = session.run(images.numpy(), (level,))[level].mean((2, 3))
        return means

    return FrozenBackbone(
        description=f"{session.manifest.architecture} of a bundle",
        mean=spec.mean,
        std=spec.std,
        pooled=pooled,
        channels=spec.channels,
        bit_depth=16 if spec.bit_depth == 16 else 8,
    )


def _from_torch(description: str, backbone: StageBackbone, views: ViewsConfig) -> FrozenBackbone:
    # Channels last is the faster layout for convolutions on the CPU as well.
    network = backbone.eval().to(memory_format=torch.channels_last)

    def pooled(images: Tensor, stage: str) -> Values:
        with torch.inference_mode():
            maps = network(images.contiguous(memory_format=torch.channels_last), depth=STAGES.index(stage) + 1)
            means: Values = maps[-1].mean((2, 3)).numpy()
        return means

    mean, std = views.statistics
    return FrozenBackbone(
        description=description,
        mean=mean,
        std=std,
        pooled=pooled,
        channels=views.channels,
        bit_depth=views.bit_depth,
    )


def _path(source: Source) -> Path:
    return Path(str(source.path))


_OPENERS: Mapping[str, Callable[[Source], FrozenBackbone]] = {
    "checkpoint": _from_checkpoint,
    "bundle": _from_bundle,
}
