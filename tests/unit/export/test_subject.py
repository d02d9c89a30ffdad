"""What is exported: levels and input come from the backbone, the run and the job."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from detco_core.contract.config import override
from detco_core.contract.errors import ExportError
from detco_core.contract.jobs import ExportJob
from detco_core.contract.manifest import InputSpec, Level, Lineage, Sizing
from detco_core.contract.presets import preset
from detco_core.contract.reader import FieldError, digest
from detco_core.export.subject import Subject, open_subject, padding_multiple
from detco_core.nets.resnet import make_resnet
from detco_core.nets.stages import StageBackbone
from detco_core.nets.weights import QUERY_BACKBONE, save_tensors
from detco_core.runtime.checkpoint import SavedFile, load, save


def checkpoint_of(like: SavedFile, folder: Path, channels: int, views: Mapping[str, Any]) -> ExportJob:
    config = override(preset("smoke"), {"method.queue_size": 16, "views.channels": channels, **views})
    info = replace(load(like.path).info, config=config)
    state = make_resnet("resnet18", channels).state_dict()
    saved = save(folder / "other.pt", info, {"method": {QUERY_BACKBONE + name: value for name, value in state.items()}})
    return ExportJob(folder=str(folder), checkpoint=str(saved.path))


def test_a_checkpoint_brings_its_input_and_its_lineage(job: ExportJob, checkpoint: SavedFile) -> None:
    subject, lineage = open_subject(job)
    assert subject.input == InputSpec(mean=(0.4, 0.5, 0.6), std=(0.229, 0.224, 0.225))
    assert subject.levels == tuple(Level(name=f"res{n}", channels=64 << n - 2, stride=2**n) for n in (2, 3, 4, 5))
    assert lineage == Lineage(
        run="run_1",
        checkpoint="ckpt_1",
        dataset="mine@1",
        dataset_digest="sha256:aa",
        step=7,
        config_digest=digest(load(checkpoint.path).info.config),
        method="detco",
    )


@pytest.mark.parametrize(
    ("channels", "color", "bits"), [(1, "gray", 8), (1, "gray", 16), (2, "raw", 16), (3, "rgb", 16), (5, "raw", 8)]
)
def test_images_of_a_run_on_other_pixels(
    channels: int, color: str, bits: int, checkpoint: SavedFile, tmp_path: Path
) -> None:
    mean, std = (0.3,) * channels, (0.1,) * channels
    views = {"views.mean": mean, "views.std": std, "views.bit_depth": bits}
    subject, _ = open_subject(checkpoint_of(checkpoint, tmp_path, channels, views))
    spec = subject.input
    assert (spec.channels, spec.color, spec.bit_depth, spec.mean, spec.std) == (channels, color, bits, mean, std)
    full = 255 if bits == 8 else 65535
    assert subject.pixel_mean == [pytest.approx(0.3 * full)] * channels
    assert subject.pixel_std == [pytest.approx(0.1 * full)] * channels


def test_a_checkpoint_is_sized_as_the_job_says(job: ExportJob) -> None:
    sized = replace(job, sizing=Sizing(short_side=800, max_side=1333, multiple=32))
    assert open_subject(sized)[0].input == replace(
        open_subject(job)[0].input, short_side=800, max_side=1333, multiple=32
    )
    for other in ({"input": InputSpec()}, {"checkpoint": None, "weights": "w.pth"}):
        with pytest.raises(FieldError, match="checkpoint alone"):
            replace(sized, **other)


def test_a_mean_nobody_knows_is_asked_for(checkpoint: SavedFile, tmp_path: Path) -> None:
    job = checkpoint_of(checkpoint, tmp_path, 2, {})
    with pytest.raises(ExportError, match=r"is not known for 2 channels: .* give the job `input`"):
        open_subject(job)
    spec = InputSpec(channels=2, mean=(0.1, 0.2), std=(1.0, 1.0), color="raw")
    assert open_subject(replace(job, input=spec))[0].input == spec
    with pytest.raises(ExportError, match="the job's input has 3 channels, and the backbone takes 2"):
        open_subject(replace(job, input=InputSpec()))


def test_weights_want_imagenets_pixels_unless_told_otherwise(tmp_path: Path) -> None:
    save_tensors(make_resnet("resnet18", 1).state_dict(), tmp_path / "gray.pth")
    spec = InputSpec(channels=1, mean=(0.5,), std=(0.25,), color="gray")
    job = ExportJob(
        folder="/j",
        weights=str(tmp_path / "gray.pth"),
        architecture="resnet18",
        lineage=Lineage(weights="w"),
        input=spec,
    )
    subject, lineage = open_subject(job)
    assert (subject.input, lineage) == (spec, Lineage(weights="w"))
    save_tensors(make_resnet("resnet18", 3).state_dict(), tmp_path / "rgb.pth")
    rgb = replace(job, weights=str(tmp_path / "rgb.pth"), input=None)
    assert open_subject(rgb)[0].input == InputSpec()


class Cutting(StageBackbone):
    """Cuts its input into squares without padding, as ConvNeXt does."""

    architecture = "cutting"
    in_channels = 2
    channels = (1, 1, 1, 1)
    strides = (4, 8, 16, 32)

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, 1, 4, stride=4)

    def forward(self, x: Tensor, depth: int = 4) -> tuple[Tensor, ...]:
        maps = [self.stem(x)]
        while len(maps) < depth:
            maps.append(nn.functional.max_pool2d(maps[-1], 2))
        return tuple(maps)


def test_sides_are_padded_where_the_network_drops_what_is_left_over() -> None:
    assert padding_multiple(make_resnet("resnet18", 3).eval()) == 1
    assert padding_multiple(Cutting()) == 32
    with torch.inference_mode():
        assert [m.shape[-1] for m in Cutting()(torch.zeros(1, 2, 128, 128))] == [32, 16, 8, 4]


def test_pixels_are_those_detectors_count_in() -> None:
    subject = Subject(Cutting(), InputSpec())
    assert subject.pixel_mean == [123.675, 116.28, 103.53]
    assert subject.pixel_std == [58.395, 57.12, 57.375]
    assert subject.full_scale == 255
