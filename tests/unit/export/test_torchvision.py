"""The torchvision file: plain tensors, loads as anyone would load it, equal for equal weights."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from torchvision import models

from detco_core.contract.errors import ExportError
from detco_core.export.levels import OUTPUTS, torch_levels
from detco_core.export.torchvision import read_torchvision, torchvision_lacks, write_torchvision
from detco_core.nets.resnet import ResNetBackbone, make_resnet
from detco_core.nets.stages import StageBackbone


@pytest.fixture(scope="module")
def file(backbone: StageBackbone, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "torchvision.pth"
    write_torchvision(backbone, path)
    return path


def test_it_loads_into_torchvision_as_a_person_would_load_it(file: Path, backbone: StageBackbone) -> None:
    tensors = torch.load(file, weights_only=True)
    assert type(tensors) is dict
    network = models.resnet18()
    found = network.load_state_dict(tensors, strict=False)
    assert found.missing_keys == ["fc.weight", "fc.bias"]
    assert found.unexpected_keys == []
    for name, tensor in backbone.state_dict().items():
        assert torch.equal(network.state_dict()[name], tensor)


def test_its_features_equal_torch(file: Path, backbone: StageBackbone) -> None:
    images = np.random.default_rng(3).standard_normal((2, 3, 101, 77), dtype=np.float32)
    expected, got = torch_levels(backbone)(images), read_torchvision(backbone, file).levels(images)
    for name in OUTPUTS:
        np.testing.assert_allclose(got[name], expected[name], rtol=1e-5, atol=1e-5)


def test_equal_weights_give_equal_bytes_whatever_their_layout(
    file: Path, backbone: StageBackbone, tmp_path: Path
) -> None:
    other = ResNetBackbone("resnet18", models.resnet18()).to(memory_format=torch.channels_last)
    other.load_state_dict(backbone.state_dict())
    write_torchvision(other, tmp_path / "torchvision.pth")
    assert (tmp_path / "torchvision.pth").read_bytes() == (file).read_bytes()


@pytest.mark.parametrize("in_channels", [1, 5])
def test_images_of_other_channels(in_channels: int, tmp_path: Path) -> None:
    backbone = make_resnet("resnet18", in_channels).eval()
    write_torchvision(backbone, tmp_path / "torchvision.pth")
    images = np.random.default_rng(3).standard_normal((1, in_channels, 64, 64), dtype=np.float32)
    reading = read_torchvision(backbone, tmp_path / "torchvision.pth")
    np.testing.assert_allclose(reading.levels(images)["res5"], torch_levels(backbone)(images)["res5"], atol=1e-5)
    assert reading.library == f"torchvision {torchvision.__version__}"


def test_a_file_of_another_network_is_refused_by_its_keys(file: Path, backbone: StageBackbone, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"does not load into torchvision's resnet34: .*layer1\.2\.conv1\.weight"):
        read_torchvision(make_resnet("resnet34", 3), file)
    tensors = torch.load(file, weights_only=True)
    torch.save(tensors | {"fc.weight": torch.zeros(1)}, tmp_path / "more.pth")
    with pytest.raises(ExportError, match=r"fc\.weight"):
        read_torchvision(backbone, tmp_path / "more.pth")


def test_what_torchvision_has() -> None:
    assert torchvision_lacks("wide_resnet50_2") is None
    assert torchvision_lacks("timm/convnext_atto") == "torchvision has no timm/convnext_atto"
