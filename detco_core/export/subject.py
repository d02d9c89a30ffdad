"""What is exported: a backbone, and the images it wants."""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch

from detco_core.contract.config import STAGES, ViewsConfig
from detco_core.contract.errors import ExportError
from detco_core.contract.jobs import ExportJob
from detco_core.contract.manifest import InputSpec, Level, Lineage, Sizing
from detco_core.contract.reader import FieldError, digest
from detco_core.nets.foreign import backbone_from_weights
from detco_core.nets.stages import StageBackbone
from detco_core.nets.weights import backbone_from_checkpoint
from detco_core.runtime.checkpoint import CheckpointInfo

# Divisible by no stride but 1.
_ODD = 97


@dataclass(frozen=True, slots=True)
class Subject:
    """A backbone on the CPU in eval mode, and its input."""

    backbone: StageBackbone
    input: InputSpec

    @property
    def architecture(self) -> str:
        return self.backbone.architecture

    @property
    def levels(self) -> tuple[Level, ...]:
        shapes = zip(STAGES, self.backbone.channels, self.backbone.strides, strict=True)
        return tuple(Level(name=name, channels=channels, stride=stride) for name, channels, stride in shapes)

    @property
    def full_scale(self) -> int:
        """The largest value of a pixel as it is stored."""
        return int(2**self.input.bit_depth - 1)

    @property
    def pixel_mean(self) -> list[float]:
        """Per channel, of pixels as they are stored."""
        return [round(mean * self.full_scale, 4) for mean in self.input.mean]

    @property
    def pixel_std(self) -> list[float]:
        return [round(std * self.full_scale, 4) for std in self.input.std]


def open_subject(job: ExportJob) -> tuple[Subject, Lineage]:
    """What a job exports, and where it comes from: what the job says, completed by what the checkpoint says.

    Raises:
        CheckpointError: the checkpoint cannot be read.
        WeightsError: the weights file is not what the job says.
        ExportError: the job's input has other channels than the backbone, or none is given and the run's mean is not
            known.
    """
    if job.checkpoint is not None:
        backbone, info = backbone_from_checkpoint(Path(job.checkpoint), job.checkpoint_sha256)
        spec = job.input or _input_of(info.config.views, job.sizing or Sizing())
        lineage = _completed(job.lineage, info)
    else:
        spec, lineage = job.input or InputSpec(), job.lineage
        backbone = backbone_from_weights(
            Path(str(job.weights)),
            job.architecture,
            job.weights_format,
            job.weights_sha256,
            in_channels=spec.channels,
        )
    if spec.channels != backbone.in_channels:
        raise ExportError(
            f"the job's input has {spec.channels} channels, and the backbone takes {backbone.in_channels}"
        )
    multiple = math.lcm(spec.multiple, padding_multiple(backbone))
    return Subject(backbone, replace(spec, multiple=multiple)), lineage


def _input_of(views: ViewsConfig, sizing: Sizing) -> InputSpec:
    try:
        mean, std = views.statistics
    except FieldError as error:
        raise ExportError(
            f"the checkpoint's mean and standard deviation {error.message}, or give the job `input`"
        ) from error
    color: Literal["rgb", "gray", "raw"] = "rgb" if views.channels == 3 else "gray" if views.channels == 1 else "raw"
    return InputSpec(
        channels=views.channels,
        mean=mean,
        std=std,
        color=color,
        bit_depth=views.bit_depth,
        short_side=sizing.short_side,
        max_side=sizing.max_side,
        multiple=sizing.multiple,
    )


def _completed(given: Lineage, info: CheckpointInfo) -> Lineage:
    return replace(
        given,
        step=info.step,
        dataset=given.dataset or info.dataset,
        dataset_digest=given.dataset_digest or info.dataset_digest,
        config_digest=given.config_digest or digest(info.config),
        method=given.method or info.config.method.name,
    )


def padding_multiple(backbone: StageBackbone) -> int:
    """What an input's sides must be padded to, so that a map has `ceil(side / stride)` cells: 1 when any will do.

    A ResNet pads inside; a network that cuts its input into squares (ConvNeXt) drops what is left over.
    """
    with torch.inference_mode():
        maps = backbone(torch.zeros(1, backbone.in_channels, _ODD, _ODD))
    whole = all(cells.shape[-1] == -(-_ODD // stride) for cells, stride in zip(maps, backbone.strides, strict=True))
    return 1 if whole else max(backbone.strides)
