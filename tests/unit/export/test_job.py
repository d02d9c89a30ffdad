"""The export job: its events, its manifest, and that a refused export leaves nothing."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from detco_core.contract.errors import BundleError, CheckpointError, ExportError, InvalidDocument
from detco_core.contract.events import ArtifactSaved, Body, Progress, Reported, Started
from detco_core.contract.jobs import ExportJob
from detco_core.contract.manifest import MANIFEST_FILE, ExportReport, Level, Lineage, Manifest, read_manifest
from detco_core.contract.reader import digest, read
from detco_core.export import bundle as bundles
from detco_core.export.bundle import FORMATS, Format
from detco_core.export.levels import Array, Levels
from detco_core.inference.backbone import Backbone
from detco_core.nets.backbone import StageBackbone
from detco_core.nets.weights import backbone_from_checkpoint, state_digest
from detco_core.runtime.checkpoint import SavedFile, file_digest

pytestmark = pytest.mark.slow  # tracing takes seconds

Run = Callable[[ExportJob], list[Body]]


def test_it_starts_writes_names_every_file_and_reports(said: list[Body], job: ExportJob) -> None:
    kinds = [type(body) for body in said]
    assert kinds == [Started, Progress, Progress, ArtifactSaved, ArtifactSaved, ArtifactSaved, Progress, Reported]
    artifacts = [body for body in said if isinstance(body, ArtifactSaved)]
    assert [file.name for file in artifacts] == ["bundle/model.onnx", "bundle/torchvision.pth", "bundle/manifest.json"]
    for file in artifacts:
        path = Path(job.folder) / file.path
        assert (file.bytes, file.sha256) == (path.stat().st_size, file_digest(path))
    assert {path.name for path in (Path(job.folder) / "bundle").iterdir()} == {
        "model.onnx",
        "torchvision.pth",
        "manifest.json",
    }


def test_the_report_is_the_manifest_on_disk(said: list[Body], bundle: Path) -> None:
    reported = said[-1]
    assert isinstance(reported, Reported)
    assert read(Manifest, read(ExportReport, reported.report).manifest) == read_manifest(bundle)


def test_the_manifest_says_what_the_weights_are_and_expect(bundle: Path, backbone: StageBackbone) -> None:
    manifest = read_manifest(bundle)
    assert manifest.architecture == "resnet18"
    assert manifest.weights_digest == state_digest(backbone.state_dict())
    assert manifest.levels[0] == Level(name="res2", channels=64, stride=4)
    assert [(level.channels, level.stride) for level in manifest.levels] == [(64, 4), (128, 8), (256, 16), (512, 32)]
    assert manifest.pooled == 512
    assert (manifest.input.mean, manifest.input.std) == ((0.4, 0.5, 0.6), (0.229, 0.224, 0.225))
    assert set(manifest.parity) == set(manifest.files) == {"onnx", "torchvision"}
    assert all(0 <= parity.relative_error <= parity.tolerance == 1e-4 for parity in manifest.parity.values())
    assert (manifest.license, manifest.created_by) == ("CC0-1.0", "ada")
    assert manifest.created_at.endswith("+00:00")
    assert {"detco", "torch", "onnxruntime"} <= set(manifest.software)


def test_lineage_is_the_jobs_completed_by_the_checkpoints(bundle: Path, checkpoint: SavedFile) -> None:
    config = backbone_from_checkpoint(checkpoint.path)[1].config
    assert read_manifest(bundle).lineage == Lineage(
        run="run_1",
        checkpoint="ckpt_1",
        step=7,
        dataset="mine@1",
        dataset_digest="sha256:aa",
        config_digest=digest(config),
        method="detco",
    )


def test_the_bundle_opens_for_inference(bundle: Path) -> None:
    image = np.zeros((70, 50, 3), np.uint8)
    result = Backbone.open(bundle).features(image, levels=("res2", "res5"))
    assert {name: tensor.shape for name, tensor in result.tensors.items()} == {
        "res2": (1, 64, 18, 13),
        "res5": (1, 512, 3, 2),
    }


def test_the_reader_refuses_a_tampered_file(copied: Path) -> None:
    Backbone.open(copied)
    model = bytearray((copied / "model.onnx").read_bytes())
    model[len(model) // 2] ^= 1
    (copied / "model.onnx").write_bytes(model)
    with pytest.raises(BundleError, match=r"model\.onnx is damaged or another file"):
        Backbone.open(copied)


def test_the_reader_refuses_a_bundle_without_its_manifest(copied: Path) -> None:
    (copied / MANIFEST_FILE).unlink()
    with pytest.raises(BundleError, match="not finished"):
        Backbone.open(copied)


def test_a_damaged_checkpoint_leaves_nothing(run_job: Run, job: ExportJob, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="damaged or another file"):
        run_job(replace(job, folder=str(tmp_path), checkpoint_sha256="sha256:00"))
    assert not (tmp_path / "bundle").exists()


def test_an_export_out_of_tolerance_leaves_nothing(
    run_job: Run, job: ExportJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A format whose reader gives what another network would."""
    good = FORMATS["torchvision"]

    def read_wrongly(architecture: str, path: Path) -> Levels:
        levels = good.read(architecture, path)

        def run(images: Array) -> Mapping[str, Array]:
            outputs = dict(levels(images))
            return outputs | {"res4": outputs["res4"] * np.float32(1.01)}

        return run

    wrong = {"onnx": Format("model.onnx", good.write, read_wrongly)}
    monkeypatch.setattr(bundles, "FORMATS", wrong)
    monkeypatch.setattr("detco_core.export.job.FORMATS", wrong)
    with pytest.raises(ExportError, match=r"model\.onnx: res4 differs from torch by 0\.01"):
        run_job(replace(job, folder=str(tmp_path), formats=("onnx",)))
    assert {path.name for path in tmp_path.iterdir()} == {"events.jsonl"}
    said = [json.loads(line)["type"] for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert "artifact" not in said
    assert "report" not in said


def test_a_job_without_onnx_is_refused() -> None:
    with pytest.raises(InvalidDocument, match="formats: must hold onnx"):
        read(ExportJob, {"folder": "/x", "checkpoint": "/y", "formats": ["torchvision"]})
