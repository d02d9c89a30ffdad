"""The mmdetection file: a plain state dict by its names."""

from pathlib import Path

import pytest
import torch

from detco_core.contract.errors import ExportError
from detco_core.export.mmdetection import mmdetection_lacks, read_mmdetection, write_mmdetection
from detco_core.export.tables import mmdetection_table
from detco_core.nets.resnet import make_resnet
from detco_core.nets.stages import StageBackbone


def test_it_is_a_plain_dict_by_mmdetections_names_and_reads_back(backbone: StageBackbone, tmp_path: Path) -> None:
    path = tmp_path / "mmdetection.pth"
    write_mmdetection(backbone, path)
    tensors = torch.load(path, weights_only=True)
    assert type(tensors) is dict
    assert {name: tuple(tensor.shape) for name, tensor in tensors.items()} == mmdetection_table("resnet18")
    reading = read_mmdetection(backbone, path)
    assert (reading.keys, reading.tolerance, reading.library) == (120, 0.0, "table of mmdetection 3.3")
    with pytest.raises(
        ExportError, match=r"keys are not as in the table of mmdetection 3\.3; layer1\.0\.bn3\.bias is missing"
    ):
        read_mmdetection(make_resnet("resnet50", 3), path)


def test_what_mmdetection_builds() -> None:
    assert mmdetection_lacks("resnext101_64x4d") is None
    assert mmdetection_lacks("wide_resnet50_2") == (
        "mmdetection's ResNet has no width to set, so it cannot be a wide_resnet50_2"
    )
    assert mmdetection_lacks("timm/convnext_atto") == "mmdetection builds ResNet and ResNeXt, not timm/convnext_atto"
