"""The detectron2 file: the pickle its checkpointer takes, by its names, equal for equal weights."""

import pickle
import pickletools
from pathlib import Path

import numpy as np
import pytest
import torch

from detco_core.contract.errors import ExportError
from detco_core.export.detectron2 import detectron2_lacks, read_detectron2, write_detectron2
from detco_core.export.tables import detectron2_table
from detco_core.nets.foreign.detectron2 import from_detectron2
from detco_core.nets.resnet import make_resnet
from detco_core.nets.stages import StageBackbone


@pytest.fixture(scope="module")
def file(backbone: StageBackbone, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "detectron2.pkl"
    write_detectron2(backbone, path)
    return path


def test_it_is_what_detectron2_loads(file: Path, backbone: StageBackbone) -> None:
    content = pickle.loads(file.read_bytes())  # noqa: S301 - our own file, as detectron2 reads it
    assert content["matching_heuristics"] is True
    assert isinstance(content["__author__"], str)
    model = content["model"]
    assert {name: array.shape for name, array in model.items()} == detectron2_table("resnet18")
    for name, tensor in backbone.state_dict().items():
        (theirs,) = [key for key in model if from_detectron2(key) == name]
        assert isinstance(model[theirs], np.ndarray)
        np.testing.assert_array_equal(model[theirs], tensor.numpy())


def test_it_names_numpy_and_nothing_else(file: Path) -> None:
    strings = [argument for code, argument, _ in pickletools.genops(file.read_bytes()) if code.name.endswith("UNICODE")]
    modules = {text for text in strings if isinstance(text, str) and text.startswith(("numpy", "torch", "detco"))}
    assert modules <= {"numpy", "numpy._core.multiarray", "numpy.core.multiarray"}


def test_it_is_held_against_detectron2s_names_and_read_back(file: Path, backbone: StageBackbone) -> None:
    reading = read_detectron2(backbone, file)
    assert (reading.keys, reading.tolerance, reading.library) == (120, 0.0, "table of detectron2 0.6")
    with pytest.raises(
        ExportError, match=r"keys are not as in the table of detectron2 0\.6; res2\.0\.conv1\.weight is"
    ):
        read_detectron2(make_resnet("resnet50", 3), file)


def test_equal_weights_give_equal_bytes_whatever_their_layout(
    file: Path, backbone: StageBackbone, tmp_path: Path
) -> None:
    other = make_resnet("resnet18", 3).to(memory_format=torch.channels_last)
    other.load_state_dict(backbone.state_dict())
    write_detectron2(other, tmp_path / "other.pkl")
    assert (tmp_path / "other.pkl").read_bytes() == file.read_bytes()


def test_images_of_other_channels(tmp_path: Path) -> None:
    backbone = make_resnet("resnet18", 5)
    write_detectron2(backbone, tmp_path / "five.pkl")
    assert read_detectron2(backbone, tmp_path / "five.pkl").keys == 120


def test_what_detectron2_builds() -> None:
    assert detectron2_lacks("resnext50_32x4d") is None
    assert detectron2_lacks("wide_resnet50_2") is None
    assert detectron2_lacks("timm/convnext_atto") == (
        "detectron2 builds ResNet, ResNeXt and WideResNet, not timm/convnext_atto"
    )
