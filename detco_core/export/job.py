"""The export job: a backbone in every format asked for, each proved equal to torch, as a bundle."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import onnx
import onnxruntime
import torch
import torchvision

from detco_core import __version__
from detco_core.contract.events import ArtifactSaved, Progress, Reported, Started, Warned
from detco_core.contract.jobs import ExportJob
from detco_core.contract.manifest import MANIFEST_FILE, BundleFile, ExportReport, Manifest, Parity
from detco_core.contract.reader import plain
from detco_core.export.advice import ADVICE, advice_page
from detco_core.export.bundle import BUNDLE, FORMATS, assembling, describe, write_manifest
from detco_core.export.levels import torch_levels
from detco_core.export.parity import compare, make_standard
from detco_core.export.subject import Subject, open_subject
from detco_core.nets.weights import state_digest
from detco_core.runtime.reporter import Reporter


def run(job: ExportJob, reporter: Reporter) -> None:
    """Write `job.folder/bundle`, whole or not at all; reports each file as an artifact, then an `ExportReport`.

    A format that the architecture has no equivalent in is left out, with a warning and a word in the manifest.

    Raises:
        CheckpointError: the checkpoint cannot be read.
        WeightsError: the weights file is not what the job says.
        ExportError: a file does not agree with torch, or the input is not known; nothing is left behind.
    """
    versions = software()
    reporter.emit(Started(environment={"version": versions.pop("detco"), **versions, "device": "cpu"}))
    subject, lineage = open_subject(job)
    left_out = _left_out(job, subject)
    for name, reason in left_out.items():
        reporter.emit(Warned(code="format_left_out", message=f"{name} is left out: {reason}"))
    names: list[str] = [name for name in job.formats if name not in left_out]
    target = Path(job.folder) / BUNDLE
    with assembling(target) as folder:
        parity = _write_formats(names, subject, folder, reporter)
        advice = {name: ADVICE[name](subject) for name in names}
        companions = _write_companions(names, subject, folder, advice_page(subject, advice, left_out))
        manifest = Manifest(
            architecture=subject.architecture,
            weights_digest=state_digest(subject.backbone.state_dict()),
            levels=subject.levels,
            pooled=subject.backbone.channels[-1],
            input=subject.input,
            files={name: describe(folder, FORMATS[name].file) for name in names} | companions,
            parity=parity,
            left_out=left_out,
            advice=advice,
            lineage=lineage,
            license=job.license,
            created_at=datetime.now(UTC).isoformat(timespec="seconds"),
            created_by=job.created_by,
            software=software(),
        )
        write_manifest(folder, manifest)
    for path in (*(file.path for file in manifest.files.values()), MANIFEST_FILE):
        reporter.emit(_artifact(describe(target, path)))
    reporter.emit(Progress(step=len(names), steps=len(names)))
    reporter.emit(Reported(report=plain(ExportReport(manifest=plain(manifest)))))


def software() -> dict[str, str]:
    """Versions of what writes a bundle."""
    used = (torch, torchvision, onnx, onnxruntime)
    return {"detco": __version__, **{module.__name__: str(module.__version__) for module in used}}


def _left_out(job: ExportJob, subject: Subject) -> dict[str, str]:
    reasons = {name: FORMATS[name].lacks(subject.architecture) for name in job.formats}
    return {name: reason for name, reason in reasons.items() if reason is not None}


def _write_formats(names: Sequence[str], subject: Subject, folder: Path, reporter: Reporter) -> dict[str, Parity]:
    backbone, spec = subject.backbone, subject.input
    standard = make_standard(torch_levels(backbone), spec.channels, spec.multiple)
    parity: dict[str, Parity] = {}
    for done, name in enumerate(names):
        reporter.emit(Progress(step=done, steps=len(names)))
        form = FORMATS[name]
        path = folder / form.file
        form.write(backbone, path)
        parity[name] = compare(form.file, standard, form.read(backbone, path))
    return parity


def _write_companions(names: Sequence[str], subject: Subject, folder: Path, page: str) -> dict[str, BundleFile]:
    """The advice, and config files for the detectors."""
    texts: dict[str, tuple[str, str]] = {"advice": ("ADVICE.md", page)}
    for name in names:
        texts |= FORMATS[name].companions(subject, FORMATS[name].file)
    for file, text in texts.values():
        (folder / file).write_text(text, "utf-8")
    return {name: describe(folder, file) for name, (file, _) in texts.items()}


def _artifact(file: BundleFile) -> ArtifactSaved:
    path = f"{BUNDLE}/{file.path}"
    return ArtifactSaved(name=path, path=path, bytes=file.bytes, sha256=file.sha256)
