"""The timm file: timm's own networks load it, and without timm its names are held against a table."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import timm
import torch

from detco_core.contract.errors import ExportError
from detco_core.export import timm as exporter
from detco_core.export.levels import OUTPUTS, torch_levels
from detco_core.export.timm import read_timm, timm_lacks, write_timm
from detco_core.nets.backbone import make_backbone
from detco_core.nets.foreign import read_foreign
from detco_core.nets.resnet import make_resnet
from detco_core.nets.stages import StageBackbone
from detco_core.nets.weights import state_digest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def file(backbone: StageBackbone, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "timm.pth"
    write_timm(backbone, path)
    return path


def test_it_loads_as_a_person_would_load_it(file: Path, backbone: StageBackbone) -> None:
    """The two ways of docs/exports.md."""
    images = torch.randn(1, 3, 64, 96)
    whole = timm.create_model("resnet18", num_classes=0)
    whole.load_state_dict(torch.load(file, weights_only=True))
    tapped = timm.create_model(
        "resnet18",
        features_only=True,
        out_indices=(1, 2, 3, 4),
        pretrained=True,
        pretrained_cfg_overlay={"file": str(file)},
    )
    with torch.inference_mode():
        expected = backbone(images)
        torch.testing.assert_close(whole.eval()(images), expected[-1].mean((2, 3)))
        for got, level in zip(tapped.eval()(images), expected, strict=True):
            torch.testing.assert_close(got, level)


def test_its_features_equal_torch(file: Path, backbone: StageBackbone) -> None:
    images = np.random.default_rng(3).standard_normal((2, 3, 101, 77), dtype=np.float32)
    reading = read_timm(backbone, file)
    assert (reading.library, reading.keys) == (f"timm {timm.__version__}", None)
    expected, got = torch_levels(backbone)(images), reading.levels(images)
    for name in OUTPUTS:
        np.testing.assert_allclose(got[name], expected[name], rtol=1e-5, atol=1e-5)


def test_without_timm_its_names_are_held_against_a_table(
    file: Path, backbone: StageBackbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporter, "find_spec", lambda name: None if name == "timm" else importlib.util.find_spec(name))
    reading = read_timm(backbone, file)
    assert (reading.library, reading.keys, reading.tolerance) == ("table of timm 1.0", 120, 0.0)


def test_a_file_of_another_network_is_refused(file: Path) -> None:
    with pytest.raises(ExportError, match=r"does not load into timm's resnet50: .*size mismatch"):
        read_timm(make_resnet("resnet50", 3), file)


def test_a_network_of_timms_own_without_its_parts_behind_the_last_level(tmp_path: Path) -> None:
    backbone = make_backbone("timm/convnext_atto", 2).eval()
    write_timm(backbone, tmp_path / "timm.pth")
    assert not [name for name in torch.load(tmp_path / "timm.pth", weights_only=True) if name.startswith("head")]
    images = np.random.default_rng(3).standard_normal((1, 2, 64, 96), dtype=np.float32)
    expected, got = torch_levels(backbone)(images), read_timm(backbone, tmp_path / "timm.pth").levels(images)
    for name in OUTPUTS:
        np.testing.assert_allclose(got[name], expected[name], rtol=1e-5, atol=1e-5)
    tensors, found, report = read_foreign(tmp_path / "timm.pth", "timm/convnext_atto", in_channels=2)
    assert (found, report.missing, report.unexpected) == ("timm", (), ())
    assert state_digest(tensors) == state_digest(backbone.state_dict())


def test_what_timm_has() -> None:
    assert timm_lacks("resnext101_64x4d") is None
    assert timm_lacks("timm/convnext_atto") is None
    assert timm_lacks("mine") == "timm has no mine"
