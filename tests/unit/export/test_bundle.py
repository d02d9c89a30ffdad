"""A bundle is whole or absent, and describes its files truly."""

import hashlib
import os
import re
from pathlib import Path

import pytest
import torch
from PIL import Image

from detco_core.contract.jobs import ExportJob
from detco_core.contract.manifest import read_manifest
from detco_core.export.bundle import FORMATS, assembling, describe, write_manifest
from detco_core.inference.sessions.session import Session
from detco_core.inference.tiny import write_tiny_bundle
from detco_core.nets.backbone import make_backbone
from detco_core.nets.foreign import read_foreign


def test_a_bundle_appears_when_the_block_ends(tmp_path: Path) -> None:
    target = tmp_path / "bundle"
    with assembling(target) as folder:
        (folder / "a").write_text("1")
        assert not target.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]
    assert (target / "a").read_text() == "1"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("earlier", [[], ["old"]])
def test_after_an_error_all_is_as_it_was(tmp_path: Path, error: type[BaseException], earlier: list[str]) -> None:
    for name in earlier:
        with assembling(tmp_path / "bundle") as folder:
            (folder / name).write_text("1")

    def fail() -> None:
        with assembling(tmp_path / "bundle") as folder:
            (folder / "a").write_text("1")
            raise error

    with pytest.raises(error):
        fail()
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"] * len(earlier)
    assert [path.name for path in tmp_path.glob("bundle/*")] == earlier


def test_an_earlier_bundle_is_replaced(tmp_path: Path) -> None:
    target = tmp_path / "bundle"
    for text in ("old", "new"):
        with assembling(target) as folder:
            (folder / text).write_text(text)
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]
    assert [path.name for path in target.iterdir()] == ["new"]


def test_what_a_killed_process_left_is_no_hindrance(tmp_path: Path) -> None:
    (tmp_path / f".bundle.{os.getpid()}.tmp").mkdir()
    (tmp_path / f".bundle.{os.getpid()}.tmp" / "half").write_text("")
    with assembling(tmp_path / "bundle") as folder:
        (folder / "a").write_text("1")
    assert [path.name for path in (tmp_path / "bundle").iterdir()] == ["a"]


def test_a_file_is_described_by_size_and_digest(tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_bytes(b"abc")
    described = describe(tmp_path, "x.bin")
    assert (described.path, described.bytes) == ("x.bin", 3)
    assert described.sha256 == "sha256:" + hashlib.sha256(b"abc").hexdigest()


def test_a_manifest_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    manifest = write_tiny_bundle(tmp_path)
    write_manifest(tmp_path, manifest)
    assert read_manifest(tmp_path) == manifest
    assert Session.open(tmp_path).manifest == manifest


def test_the_formats_are_those_a_job_may_ask_for() -> None:
    assert tuple(FORMATS) == ExportJob(folder="/x", checkpoint="/y").formats


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["resnext50_32x4d"])
def test_bottlenecks_and_groups_go_out_and_come_back(architecture: str, tmp_path: Path) -> None:
    backbone = make_backbone(architecture)
    for name in ("torchvision", "timm", "detectron2", "mmdetection"):
        path = tmp_path / FORMATS[name].file
        FORMATS[name].write(backbone, path)
        tensors, _, report = read_foreign(path, architecture)
        assert (report.missing, report.unexpected) == ((), ())
        assert all(torch.equal(tensor, tensors[key]) for key, tensor in backbone.state_dict().items())
        path.unlink()


@pytest.mark.slow
@pytest.mark.parametrize("section", ["torchvision", "timm", "onnx"])
def test_the_pages_commands_run(section: str, bundle: Path, tmp_path: Path) -> None:
    """docs/exports.md, on the ResNet-18 of the tests."""
    Image.new("RGB", (64, 48)).save(tmp_path / "photo.jpg")
    page = (Path(__file__).parents[3] / "docs/exports.md").read_text()
    text = page.split(f"\n## {section}\n")[1].split("\n## ")[0]
    code = "\n".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL))
    code = code.replace("exported/bundle", str(bundle)).replace("resnet50", "resnet18")
    scope: dict[str, object] = {}
    exec(code.replace("photo.jpg", str(tmp_path / "photo.jpg")), scope)  # noqa: S102 - our own page
    if section == "torchvision":
        detector = scope["detector"]
        assert isinstance(detector, torch.nn.Module)
        assert set(detector.eval()([torch.rand(3, 64, 64)])[0]) == {"boxes", "labels", "scores"}
