"""`examples/exported_detector.py` on an exported bundle: its weights, its pixels, and all of it trains."""

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from detco_core.nets.backbone import StageBackbone
from examples.exported_detector import main, make_detector


def test_a_detector_stands_on_the_weights(bundle: Path, backbone: StageBackbone) -> None:
    torch.manual_seed(0)
    detector = make_detector(bundle, classes=3, side=64)
    manifest = json.loads((bundle / "manifest.json").read_text())
    assert detector.transform.image_mean == manifest["input"]["mean"]
    assert detector.transform.image_std == manifest["input"]["std"]
    body = detector.backbone.body.state_dict()
    for name, tensor in backbone.state_dict().items():
        assert torch.equal(body[name], tensor)

    target = {"boxes": torch.tensor([[10.0, 10.0, 50.0, 60.0]]), "labels": torch.tensor([1])}
    assert any(isinstance(module, torch.nn.BatchNorm2d) for module in detector.backbone.fpn.modules())
    losses = detector.train()([torch.rand(3, 64, 96)] * 2, [target] * 2)
    torch.autograd.backward(list(losses.values()))
    assert all(weight.grad is not None for weight in detector.backbone.parameters())


def test_it_runs_as_its_first_lines_say(bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("L", (96, 64), 90).save(tmp_path / "photo.png")
    main([str(bundle), str(tmp_path / "photo.png")], side=64)
    assert "boxes from heads that were never trained" in capsys.readouterr().out


def test_weights_of_another_network_are_refused(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "torchvision.pth").symlink_to(bundle / "torchvision.pth")
    manifest = json.loads((bundle / "manifest.json").read_text())
    (tmp_path / "manifest.json").write_text(json.dumps(manifest | {"architecture": "resnet50"}))
    with pytest.raises(RuntimeError, match="state_dict"):
        make_detector(tmp_path)


def test_a_bundle_without_them_is_told_how_to_get_them(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").symlink_to(bundle / "manifest.json")
    with pytest.raises(SystemExit, match=r"torchvision.pth is not there: export the model with `--format torchvision`"):
        make_detector(tmp_path)
