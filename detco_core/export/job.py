"""The export job: a checkpoint's query backbone, in every format asked for, each proved equal to torch, as a bundle."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import onnx
import onnxruntime
import torch
import torchvision

from detco_core import __version__
from detco_core.contract.config import STAGES
from detco_core.contract.events import ArtifactSaved, Progress, Reported, Started
from detco_core.contract.jobs import ExportJob
from detco_core.contract.manifest import (
    MANIFEST_FILE,
    BundleFile,
    ExportReport,
    InputSpec,
    Level,
    Lineage,
    Manifest,
    Parity,
)
from detco_core.contract.reader import digest, plain
from detco_core.export.bundle import BUNDLE, FORMATS, assembling, describe, write_manifest
from detco_core.export.levels import torch_levels
from detco_core.export.parity import compare
from detco_core.nets.backbone import StageBackbone
from detco_core.nets.foreign import backbone_from_weights
from detco_core.nets.weights import backbone_from_checkpoint, state_digest
from detco_core.runtime.checkpoint import CheckpointInfo
from detco_core.runtime.reporter import Reporter


def run(job: ExportJob, reporter: Reporter) -> None:
    """Write `job.folder/bundle`, whole or not at all; reports each file as an artifact, then an `ExportReport`.

    Raises:
        CheckpointError: the checkpoint cannot be read.
        WeightsError: the weights file is not what the job says.
        ExportError: a file does not agree with torch; nothing is left behind.
    """
    versions = software()
    reporter.emit(Started(environment={"version": versions.pop("detco"), **versions, "device": "cpu"}))
    backbone, info = _opened(job)
    target = Path(job.folder) / BUNDLE
    with assembling(target) as folder:
        parity = _write_formats(job, backbone, folder, reporter)
        manifest = _manifest(job, backbone, info, folder, parity)
        write_manifest(folder, manifest)
    for path in (*(file.path for file in manifest.files.values()), MANIFEST_FILE):
        reporter.emit(_artifact(describe(target, path)))
    reporter.emit(Progress(step=len(job.formats), steps=len(job.formats)))
    reporter.emit(Reported(report=plain(ExportReport(manifest=plain(manifest)))))


def _opened(job: ExportJob) -> tuple[StageBackbone, CheckpointInfo | None]:
    """The backbone, and what its checkpoint says of itself when it comes from one."""
    if job.checkpoint is not None:
        return backbone_from_checkpoint(Path(job.checkpoint), job.checkpoint_sha256)
    path = Path(str(job.weights))
    return backbone_from_weights(path, job.architecture, job.weights_format, job.weights_sha256), None


def software() -> dict[str, str]:
    """Versions of what writes a bundle."""
    used = (torch, torchvision, onnx, onnxruntime)
    return {"detco": __version__, **{module.__name__: str(module.__version__) for module in used}}


def _write_formats(job: ExportJob, backbone: StageBackbone, folder: Path, reporter: Reporter) -> dict[str, Parity]:
    expected = torch_levels(backbone)
    parity: dict[str, Parity] = {}
    for done, name in enumerate(job.formats):
        reporter.emit(Progress(step=done, steps=len(job.formats)))
        form = FORMATS[name]
        path = folder / form.file
        form.write(backbone, path)
        parity[name] = compare(form.file, expected, form.read(backbone.architecture, path))
    return parity


def _manifest(
    job: ExportJob, backbone: StageBackbone, info: CheckpointInfo | None, folder: Path, parity: dict[str, Parity]
) -> Manifest:
    levels = zip(STAGES, backbone.channels, backbone.strides, strict=True)
    return Manifest(
        architecture=backbone.architecture,
        weights_digest=state_digest(backbone.state_dict()),
        levels=tuple(Level(name=name, channels=channels, stride=stride) for name, channels, stride in levels),
        pooled=backbone.channels[-1],
        input=_input(job, info),
        files={name: describe(folder, FORMATS[name].file) for name in job.formats},
        parity=parity,
        lineage=_lineage(job, info),
        license=job.license,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        created_by=job.created_by,
        software=software(),
    )


def _input(job: ExportJob, info: CheckpointInfo | None) -> InputSpec:
    if job.input is not None or info is None:
        return job.input or InputSpec()
    mean, std = info.config.views.statistics
    return InputSpec(mean=mean, std=std)


def _lineage(job: ExportJob, info: CheckpointInfo | None) -> Lineage:
    """What the job says of the weights' origin, completed by what the checkpoint says."""
    given = job.lineage
    if info is None:
        return given
    return replace(
        given,
        step=info.step,
        dataset=given.dataset or info.dataset,
        dataset_digest=given.dataset_digest or info.dataset_digest,
        config_digest=given.config_digest or digest(info.config),
        method=given.method or info.config.method.name,
    )


def _artifact(file: BundleFile) -> ArtifactSaved:
    path = f"{BUNDLE}/{file.path}"
    return ArtifactSaved(name=path, path=path, bytes=file.bytes, sha256=file.sha256)
