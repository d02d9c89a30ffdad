"""What the end of a run means for the thing it was making: a data set version, a model version, weights, a score."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from sqlalchemy import select
from sqlalchemy.orm import Session

from control.db.models import Artifact, DatasetVersion, ModelVersion, Run, Weights
from control.records.runs.scores import settle_score
from detco_core.contract.datasets import ScanReport
from detco_core.contract.errors import DataError, DetcoError
from detco_core.contract.manifest import MANIFEST_FILE, ExportReport, Manifest
from detco_core.contract.reader import plain, read
from detco_core.contract.weights import WEIGHTS_FILE, WeightsReport

MANIFEST_ARTIFACT = "manifest.jsonl"
"""Artifact of a check run: the file manifest."""
BUNDLE_FOLDER = "bundle"
"""Artifacts of an export run lie under this name."""

Made = TypeVar("Made", DatasetVersion, ModelVersion, Weights)
Artifacts = Mapping[str, Artifact]
Fill = Callable[[Made, dict[str, Any], Artifacts], None]
"""Takes over what a run reported and left behind, by name; raises `DetcoError` where the two do not fit."""


def settle(session: Session, run: Run) -> None:
    """Bring what `run` was making to its end; to be called once, when the run has reached a terminal state."""
    if run.kind == "check":
        _settle(session, run, DatasetVersion, run.dataset_version_id, _fill_dataset)
    elif run.kind == "export":
        _settle(session, run, ModelVersion, run.spec["model_version_id"], _fill_model)
    elif run.kind == "import":
        _settle(session, run, Weights, run.spec["weights_id"], _fill_weights)
    elif run.kind == "evaluate":
        settle_score(session, run)


def _settle(session: Session, run: Run, table: type[Made], identity: str | None, fill: Fill[Made]) -> None:
    made = session.get_one(table, identity, with_for_update=True)
    try:
        fill(made, _report(run), _artifacts(session, run))
    except DetcoError as error:
        made.state, made.reason = "failed", str(error)
    else:
        made.state = "ready"


def _fill_dataset(version: DatasetVersion, report: dict[str, Any], artifacts: Artifacts) -> None:
    scan = read(ScanReport, report, "scan report")
    manifest = _same(artifacts, MANIFEST_ARTIFACT, scan.digest)
    version.digest, version.manifest_key = manifest.digest, manifest.key
    version.images, version.bytes = scan.images, scan.bytes
    version.splits, version.labels, version.channels = scan.splits, scan.labels, scan.channels
    version.width, version.height = list(scan.width), list(scan.height)
    version.statistics = plain(scan.statistics)
    version.broken_count = len(scan.broken) if scan.broken_count is None else scan.broken_count
    version.broken = [{"path": file.path, "reason": file.reason} for file in scan.broken]


def _fill_model(version: ModelVersion, report: dict[str, Any], artifacts: Artifacts) -> None:
    document = read(ExportReport, report, "export report").manifest
    manifest = read(Manifest, document, "manifest")
    files = {"manifest": _entry(MANIFEST_FILE, _named(artifacts, f"{BUNDLE_FOLDER}/{MANIFEST_FILE}"))}
    for name, file in manifest.files.items():
        files[name] = _entry(file.path, _same(artifacts, f"{BUNDLE_FOLDER}/{file.path}", file.sha256))
    version.files = files
    version.weights_digest = manifest.weights_digest
    version.license = version.license or manifest.license
    version.manifest, version.parity, version.lineage = document, document.get("parity"), document.get("lineage")


def _fill_weights(weights: Weights, document: dict[str, Any], artifacts: Artifacts) -> None:
    report = read(WeightsReport, document, "weights report")
    file = _named(artifacts, WEIGHTS_FILE)
    weights.architecture, weights.format = report.architecture, report.format
    weights.digest, weights.key_report = report.digest, plain(report.keys)
    weights.key, weights.file_digest, weights.file_bytes = file.key, file.digest, file.bytes


def _report(run: Run) -> dict[str, Any]:
    if run.state != "completed":
        raise DataError(run.reason or f"run {run.id} ended {run.state}")
    if run.report is None:
        raise DataError(f"run {run.id} completed without a report")
    return run.report


def _artifacts(session: Session, run: Run) -> Artifacts:
    return {artifact.name: artifact for artifact in session.scalars(select(Artifact).where(Artifact.run_id == run.id))}


def _named(artifacts: Artifacts, name: str) -> Artifact:
    if name not in artifacts:
        raise DataError(f"the job reported {name} but did not leave it")
    return artifacts[name]


def _same(artifacts: Artifacts, name: str, digest: str) -> Artifact:
    artifact = _named(artifacts, name)
    if artifact.digest.removeprefix("sha256:") != digest.removeprefix("sha256:"):
        raise DataError(f"{name} has digest {artifact.digest}, but {digest} was reported")
    return artifact


def _entry(path: str, artifact: Artifact) -> dict[str, Any]:
    return {"path": path, "bytes": artifact.bytes, "digest": artifact.digest, "key": artifact.key}
