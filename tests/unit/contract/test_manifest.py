"""The manifest: what it must hold, what it answers, and how a folder without a good one is refused."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from detco_core.contract.errors import BundleError, InvalidDocument
from detco_core.contract.manifest import BundleFile, InputSpec, Level, Manifest, Parity, read_manifest
from detco_core.contract.reader import plain, read

MANIFEST = Manifest(
    architecture="resnet18",
    weights_digest="sha256:aa",
    levels=(Level(name="res4", channels=256, stride=16), Level(name="res5", channels=512, stride=32)),
    pooled=512,
    input=InputSpec(),
    files={"onnx": BundleFile(path="model.onnx", bytes=3, sha256="sha256:bb")},
    parity={"onnx": Parity(relative_error=1e-6, tolerance=1e-4, images=((224, 224), (101, 333)))},
)


def write(folder: Path, content: str | bytes) -> Path:
    (folder / "manifest.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def test_it_reads_back_equal(tmp_path: Path) -> None:
    assert read_manifest(write(tmp_path, json.dumps(plain(MANIFEST)))) == MANIFEST


def test_a_level_is_found_by_name_or_refused_with_those_there_are() -> None:
    assert MANIFEST.level("res5").stride == 32
    with pytest.raises(BundleError, match="unknown level 'p4'; this model has res4, res5"):
        MANIFEST.level("p4")


@pytest.mark.parametrize(
    ("change", "path", "message"),
    [
        ({"format": 2}, "format", "is 2; this version reads 1: upgrade detco"),
        ({"levels": []}, "levels", "must not be empty"),
        ({"files": {}}, "files", "must hold onnx"),
        ({"input": {"channels": 1}}, "input.mean", "one value per channel"),
        ({"input": {"color": "cmyk"}}, "input.color", "is not one of"),
        ({"input": {"short_side": 0}}, "input.short_side", "must be 1.."),
        ({"input": {"max_side": 800}}, "input.max_side", "give that too"),
        ({"input": {"short_side": 800, "max_side": 799}}, "input.max_side", "must be short_side.."),
        ({"pooled": "512"}, "pooled", "expected int"),
        ({"weights": 1}, "weights", "unknown key"),
        ({"levels": [{"name": "res2", "channels": 64}]}, "levels[0].stride", "missing"),
    ],
)
def test_a_fault_is_named_by_its_path(change: dict[str, Any], path: str, message: str) -> None:
    with pytest.raises(InvalidDocument) as caught:
        read(Manifest, plain(MANIFEST) | change)
    assert [fault.path for fault in caught.value.faults] == [path]
    assert message in caught.value.faults[0].message


@pytest.mark.parametrize("path", ["/etc/passwd", "../model.onnx", "a/../../b", "", "..", "a//b", "a\0b"])
def test_a_file_outside_the_bundle_is_refused(path: str) -> None:
    with pytest.raises(InvalidDocument, match=r"files\.onnx\.path: must lie in the bundle"):
        read(Manifest, plain(MANIFEST) | {"files": {"onnx": {"path": path, "bytes": 1, "sha256": "sha256:00"}}})


def test_a_file_in_a_folder_of_the_bundle_is_fine() -> None:
    assert replace(MANIFEST.files["onnx"], path="onnx/model.onnx").path == "onnx/model.onnx"


def test_a_folder_without_a_manifest_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="not a bundle, or one that was not finished"):
        read_manifest(tmp_path)
    with pytest.raises(BundleError, match=r"no manifest\.json in"):
        read_manifest(tmp_path / "nowhere")


@pytest.mark.parametrize("content", ["", "{", "[]", "null", b"\xff\xfe", json.dumps(plain(MANIFEST))[:-20]])
def test_a_damaged_manifest_is_refused_by_its_path(tmp_path: Path, content: str | bytes) -> None:
    with pytest.raises(BundleError, match=r"manifest\.json cannot be read"):
        read_manifest(write(tmp_path, content))


def test_a_manifest_that_is_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").mkdir()
    with pytest.raises(BundleError, match="cannot be read"):
        read_manifest(tmp_path)
