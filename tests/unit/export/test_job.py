"""The export job: its events, its manifest, and that a refused export leaves nothing."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from detco_core.contract.errors import BundleError, CheckpointError, ExportError, InvalidDocument, WeightsError
from detco_core.contract.events import ArtifactSaved, Body, Progress, Reported, Started, Warned
from detco_core.contract.jobs import ExportJob
from detco_core.contract.manifest import (
    EXPORT_FORMATS,
    MANIFEST_FILE,
    ExportReport,
    InputSpec,
    Level,
    Lineage,
    Manifest,
    read_manifest,
)
from detco_core.contract.reader import digest, read
from detco_core.export.bundle import FORMATS, Format
from detco_core.export.levels import Array
from detco_core.export.reading import Reading
from detco_core.inference.backbone import Backbone
from detco_core.nets.backbone import StageBackbone
from detco_core.nets.foreign import read_foreign
from detco_core.nets.weights import backbone_from_checkpoint, state_digest
from detco_core.runtime.checkpoint import SavedFile, file_digest

pytestmark = pytest.mark.slow  # tracing takes seconds

Run = Callable[[ExportJob], list[Body]]


FILES = [
    *("model.onnx", "torchvision.pth", "timm.pth", "detectron2.pkl", "mmdetection.pth"),
    *("ADVICE.md", "detectron2_fpn.yaml", "mmdetection_fpn.py", "manifest.json"),
]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> dict[str, Format]:
    """Formats without tracing, held to small images."""
    formats = {**FORMATS, "onnx": FORMATS["torchvision"]}
    monkeypatch.setattr("detco_core.export.job.FORMATS", formats)
    monkeypatch.setattr("detco_core.export.parity.IMAGES", ((64, 96),))
    return formats


def test_it_starts_writes_names_every_file_and_reports(said: list[Body], job: ExportJob) -> None:
    kinds = [type(body) for body in said]
    assert kinds == [Started, *[Progress] * 5, *[ArtifactSaved] * 9, Progress, Reported]
    artifacts = [body for body in said if isinstance(body, ArtifactSaved)]
    assert [file.name for file in artifacts] == [f"bundle/{name}" for name in FILES]
    for file in artifacts:
        path = Path(job.folder) / file.path
        assert (file.bytes, file.sha256) == (path.stat().st_size, file_digest(path))
    assert {path.name for path in (Path(job.folder) / "bundle").iterdir()} == set(FILES)


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
    assert tuple(manifest.parity) == tuple(manifest.advice) == EXPORT_FORMATS == tuple(manifest.files)[:5]
    assert set(manifest.files) - set(EXPORT_FORMATS) == {"advice", "detectron2_fpn", "mmdetection_fpn"}
    assert manifest.left_out == {}
    assert (manifest.license, manifest.created_by) == ("CC0-1.0", "ada")
    assert manifest.created_at.endswith("+00:00")
    assert {"detco", "torch", "onnxruntime"} <= set(manifest.software)


def test_every_file_is_proved_by_its_library_or_by_its_keys(bundle: Path) -> None:
    parity = read_manifest(bundle).parity
    assert {name: (proof.proof, proof.library.rsplit(" ", 1)[0], proof.keys) for name, proof in parity.items()} == {
        "onnx": ("features", "onnxruntime", None),
        "torchvision": ("features", "torchvision", None),
        "timm": ("features", "timm", None),
        "detectron2": ("keys", "table of detectron2", 120),
        "mmdetection": ("keys", "table of mmdetection", 120),
    }
    for proof in parity.values():
        assert 0 <= proof.relative_error <= proof.tolerance == (1e-4 if proof.keys is None else 0.0)


def test_every_file_is_read_back_bit_for_bit_by_an_import(bundle: Path, backbone: StageBackbone) -> None:
    expected = state_digest(backbone.state_dict())
    for name in ("torchvision", "timm", "detectron2", "mmdetection"):
        path = bundle / read_manifest(bundle).files[name].path
        tensors, _, report = read_foreign(path, "resnet18")
        assert (report.missing, report.unexpected) == ((), ())
        assert state_digest(tensors) == expected


def test_equal_weights_are_one_file_in_the_store(bundle: Path) -> None:
    files = read_manifest(bundle).files
    assert files["torchvision"].sha256 == files["timm"].sha256 == files["mmdetection"].sha256


def test_the_advice_holds_the_runs_own_pixels(bundle: Path) -> None:
    """0.4, 0.5, 0.6 of 255."""
    page = (bundle / "ADVICE.md").read_text()
    assert "RGB in 0..255: PIXEL_MEAN [102.0, 127.5, 153.0], PIXEL_STD [58.395, 57.12, 57.375]" in page
    for sentences in read_manifest(bundle).advice.values():
        assert all(sentence in page for sentence in sentences)


def test_weights_are_exported_as_a_checkpoint_is(
    run_job: Run, quick: dict[str, Format], bundle: Path, tmp_path: Path
) -> None:
    """The bundle's own detectron2 file, back into a bundle."""
    job = ExportJob(
        folder=str(tmp_path),
        weights=str(bundle / "detectron2.pkl"),
        architecture="resnet18",
        lineage=Lineage(weights="w_1"),
        input=InputSpec(short_side=800),
        formats=("onnx", "mmdetection"),
    )
    run_job(job)
    manifest = read_manifest(tmp_path / "bundle")
    assert manifest.weights_digest == read_manifest(bundle).weights_digest
    assert manifest.lineage == Lineage(weights="w_1")
    assert manifest.input == InputSpec(short_side=800)
    assert (tmp_path / "bundle/mmdetection.pth").read_bytes() == (bundle / "mmdetection.pth").read_bytes()


def test_weights_of_another_network_leave_nothing(run_job: Run, bundle: Path, tmp_path: Path) -> None:
    job = ExportJob(folder=str(tmp_path), weights=str(bundle / "detectron2.pkl"), architecture="resnet34")
    with pytest.raises(WeightsError, match="it looks like resnet18"):
        run_job(job)
    assert not (tmp_path / "bundle").exists()


def test_a_format_without_an_equivalent_is_left_out_and_said_so(
    run_job: Run, quick: dict[str, Format], job: ExportJob, tmp_path: Path
) -> None:
    quick["mmdetection"] = replace(quick["mmdetection"], lacks=lambda architecture: f"no {architecture} there")
    warned = [body for body in run_job(replace(job, folder=str(tmp_path))) if isinstance(body, Warned)]
    manifest = read_manifest(tmp_path / "bundle")
    assert [(body.code, body.message) for body in warned] == [
        ("format_left_out", "mmdetection is left out: no resnet18 there")
    ]
    assert manifest.left_out == {"mmdetection": "no resnet18 there"}
    assert "mmdetection" not in manifest.files.keys() | manifest.parity.keys() | manifest.advice.keys()
    assert "mmdetection_fpn" not in manifest.files
    assert "- mmdetection: no resnet18 there" in (tmp_path / "bundle/ADVICE.md").read_text()


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
    result = Backbone(bundle).features(image, levels=("res2", "res5"))
    assert {name: tensor.shape for name, tensor in result.tensors.items()} == {
        "res2": (1, 64, 18, 13),
        "res5": (1, 512, 3, 2),
    }


def test_the_reader_refuses_a_tampered_file(copied: Path) -> None:
    Backbone(copied)
    model = bytearray((copied / "model.onnx").read_bytes())
    model[len(model) // 2] ^= 1
    (copied / "model.onnx").write_bytes(model)
    with pytest.raises(BundleError, match=r"model\.onnx is damaged or another file"):
        Backbone(copied)


def test_the_reader_refuses_a_bundle_without_its_manifest(copied: Path) -> None:
    (copied / MANIFEST_FILE).unlink()
    with pytest.raises(BundleError, match="not finished"):
        Backbone(copied)


def test_a_damaged_checkpoint_leaves_nothing(run_job: Run, job: ExportJob, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="damaged or another file"):
        run_job(replace(job, folder=str(tmp_path), checkpoint_sha256="sha256:00"))
    assert not (tmp_path / "bundle").exists()


def test_an_export_out_of_tolerance_leaves_nothing(
    run_job: Run, quick: dict[str, Format], job: ExportJob, tmp_path: Path
) -> None:
    """A format whose reader gives what another network would."""
    good = FORMATS["torchvision"]

    def read_wrongly(backbone: StageBackbone, path: Path) -> Reading:
        reading = good.read(backbone, path)

        def run(images: Array) -> Mapping[str, Array]:
            outputs = dict(reading.levels(images))
            return outputs | {"res4": outputs["res4"] * np.float32(1.01)}

        return replace(reading, levels=run)

    quick["onnx"] = replace(good, file="model.onnx", read=read_wrongly)
    with pytest.raises(ExportError, match=r"model\.onnx: res4 differs from torch by 0\.01"):
        run_job(replace(job, folder=str(tmp_path), formats=("onnx",)))
    assert {path.name for path in tmp_path.iterdir()} == {"events.jsonl"}
    said = [json.loads(line)["type"] for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert "artifact" not in said
    assert "report" not in said


def test_a_job_without_onnx_is_refused() -> None:
    with pytest.raises(InvalidDocument, match="formats: must hold onnx"):
        read(ExportJob, {"folder": "/x", "checkpoint": "/y", "formats": ["torchvision"]})
