"""A run's spec as the job that works on it: from the tables alone, with a list of what must be brought first."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from sqlalchemy.orm import Session

from control.db.models import Checkpoint, DatasetVersion, ModelVersion, Run, Upload, Weights, Worker
from control.records.journal.history import get_attempt, index_parts
from control.records.models.lineage import inherited, lineage_of
from control.records.models.sources import TENSOR_FORMATS
from control.records.store.places import sees
from control.records.store.uploads import SCHEME
from detco_core.contract.config import read_config
from detco_core.contract.datasets import REMOTE, ChannelStatistics, DatasetKind, DatasetRef
from detco_core.contract.errors import DataError
from detco_core.contract.evaluations import EvaluationSpec, Source
from detco_core.contract.extractions import ExtractionOptions
from detco_core.contract.jobs import CheckJob, EvaluateJob, ExportJob, ExtractJob, ImportJob, Init, Job, PretrainJob
from detco_core.contract.reader import read
from detco_core.contract.weights import WeightsFormat
from worker.unpacked import Unpacked

DATASET_FILE = "dataset.jsonl"
RESUME_FILE = "resume.pt"
_MOST_WAITING = 4
"""Shards of features that may lie on the disk until they are in the store; the job waits then."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A job as far as the tables tell it, and the artifacts it needs."""

    run: Run
    fence: int
    """Of the attempt, which may be another's than the run's by now."""
    folder: Path
    unpacked: Unpacked
    needed: dict[Path, tuple[str, str]] = field(default_factory=dict)
    """Where it must lie: its digest, and what it is."""
    kept: dict[Path, str] = field(default_factory=dict)
    """What earlier attempts saved and this one can do without, by where it must lie: its digest."""
    objects: dict[Path, str] = field(default_factory=dict)
    """Where it must lie, and where in S3 it does."""
    archives: list[str] = field(default_factory=list)
    """Digests of those that must lie unpacked on this host."""

    def need(self, name: str, digest: str, what: str) -> str:
        """Ask for an artifact; returns the path it will have."""
        path = self.folder / name
        self.needed[path] = (digest, what)
        return str(path)


def make_job(session: Session, draft: Draft) -> Job:
    """The job of the draft's run; fills in what the draft needs.

    Raises:
        InvalidDocument: the spec is not one this version understands.
        DataError: what it refers to is not ready.
        NoResultFound: what it refers to was deleted.
    """
    return _MAKERS[draft.run.kind](session, draft)


def _pretrain(session: Session, draft: Draft) -> Job:
    spec = draft.run.spec
    job = PretrainJob(
        folder=str(draft.folder),
        config=read_config(spec["config"]),
        dataset=_dataset(session, draft),
        run=draft.run.id,
        init=_init(session, draft, spec["init"]) if spec.get("init") else None,
        allow_world_size_change=spec.get("allow_world_size_change", False),
    )
    return _continued(session, draft, job, spec["resume"]) if spec.get("resume") else job


def _continued(session: Session, draft: Draft, job: PretrainJob, resume: dict[str, Any]) -> PretrainJob:
    """A fork that carries all begins with the forked run's checkpoint."""
    checkpoint = session.get_one(Checkpoint, resume["checkpoint_id"])
    return replace(
        job,
        resume=draft.need(RESUME_FILE, checkpoint.digest, f"checkpoint {checkpoint.id}"),
        resume_sha256=checkpoint.digest,
        extend=True,
        allow_world_size_change=job.allow_world_size_change or resume["allow_world_size_change"],
    )


def _evaluate(session: Session, draft: Draft) -> Job:
    spec = draft.run.spec
    evaluation = EvaluationSpec(
        task=spec["task"],
        source=_source(session, draft, spec["source"]),
        options=spec.get("options") or {},
        seed=spec.get("seed", 0),
    )
    return EvaluateJob(folder=str(draft.folder), spec=evaluation, dataset=_dataset(session, draft), run=draft.run.id)


def _export(session: Session, draft: Draft) -> Job:
    spec = draft.run.spec
    return ExportJob(
        folder=str(draft.folder),
        **(exported := _exported(session, draft, spec)),
        formats=tuple(spec["formats"]),
        license=spec.get("license") or inherited(exported["lineage"]),
        created_by=draft.run.created_by,
        run=draft.run.id,
    )


def _exported(session: Session, draft: Draft, spec: dict[str, Any]) -> dict[str, Any]:
    """The fields of an export job that say what is exported, and where it comes from."""
    if spec.get("weights_id"):
        weights = session.get_one(Weights, spec["weights_id"])
        source = _weights(weights, draft)
        return {
            "weights": source.path,
            "weights_sha256": source.sha256,
            "architecture": source.backbone,
            "lineage": lineage_of(session, weights),
        }
    checkpoint = session.get_one(Checkpoint, spec["checkpoint_id"])
    return {
        "checkpoint": _checkpoint(draft, checkpoint),
        "checkpoint_sha256": checkpoint.digest,
        "lineage": lineage_of(session, checkpoint),
    }


def _check(session: Session, draft: Draft) -> Job:
    version = session.get_one(DatasetVersion, draft.run.spec["dataset_version_id"])
    return CheckJob(
        folder=str(draft.folder),
        root=_root(session, draft, version),
        cache=draft.unpacked.objects if version.root.startswith(REMOTE) else None,
        kind=cast(DatasetKind, version.kind),
        splits=version.split_folders or {},
        exclude=tuple(version.exclude),
        allowed_roots=_roots(session, draft),
        run=draft.run.id,
    )


def _import(session: Session, draft: Draft) -> Job:
    spec = draft.run.spec
    weights = session.get_one(Weights, spec["weights_id"])
    return ImportJob(
        folder=str(draft.folder),
        path=_uploaded(session, draft, spec["path"], "import.pth"),
        architecture=weights.architecture,
        channels=spec["channels"],
        format=cast("WeightsFormat | None", weights.format),
        strict=spec["strict"],
        run=draft.run.id,
    )


def _extract(session: Session, draft: Draft) -> Job:
    spec, bounds = draft.run.spec, draft.run.spec["bounds"]
    version = session.get_one(ModelVersion, spec["model_version_id"])
    for part in index_parts(session, draft.run.id):
        draft.kept[draft.folder / part.name] = part.digest
    return ExtractJob(
        folder=str(draft.folder),
        bundle=str(_bundle(version, draft).path),
        dataset=_dataset(session, draft),
        options=read(ExtractionOptions, spec["options"]),
        boxes=_uploaded(session, draft, spec["boxes"], "boxes.json") if spec["boxes"] else None,
        model=spec["model"],
        weights_digest=spec["weights_digest"],
        licenses=spec["licenses"],
        max_bytes=bounds["bytes"],
        max_image_bytes=bounds["image_bytes"],
        max_image_pixels=bounds["image_pixels"],
        most_waiting=_MOST_WAITING,
        run=draft.run.id,
    )


_MAKERS: dict[str, Callable[[Session, Draft], Job]] = {
    "pretrain": _pretrain,
    "evaluate": _evaluate,
    "export": _export,
    "check": _check,
    "import": _import,
    "extract": _extract,
}


def _root(session: Session, draft: Draft, version: DatasetVersion) -> str:
    """The path at which a data set version lies on this host, once the job is prepared."""
    if version.root.startswith(SCHEME):
        upload = session.get_one(Upload, version.root.removeprefix(SCHEME))
        draft.archives.append(upload.digest)
        return str(draft.unpacked.folder_of(upload.digest) / (upload.contents or {}).get("base", ""))
    if version.root.startswith(REMOTE):
        return version.root
    real, roots = os.path.realpath(version.root), _roots(session, draft)
    if not sees(roots, real):
        raise DataError(f"{version.root} leads to {real} now, outside the folders data may lie in: {', '.join(roots)}")
    return version.root


def _uploaded(session: Session, draft: Draft, place: str, name: str) -> str:
    """The path at which a file lies, once the job is prepared; an uploaded one is brought by this name."""
    if place.startswith(REMOTE):
        path = draft.folder / "import.pth"
        draft.objects[path] = place
        return str(path)
    if not place.startswith(SCHEME):
        return place
    upload = session.get_one(Upload, place.removeprefix(SCHEME))
    return draft.need(name, upload.digest, f"upload {upload.id}")


def _roots(session: Session, draft: Draft) -> tuple[str, ...]:
    """The folders that the worker of this attempt reads data from."""
    worker = session.get_one(Worker, get_attempt(session, draft.run.id, draft.fence).worker_id)
    return tuple(worker.roots)


def _dataset(session: Session, draft: Draft) -> DatasetRef:
    version = session.get_one(DatasetVersion, draft.run.dataset_version_id)
    if version.digest is None:
        raise DataError(f"data set {version.ref} is {version.state}, not ready")
    return DatasetRef(
        name=version.ref,
        kind=cast(DatasetKind, version.kind),
        root=_root(session, draft, version),
        cache=draft.unpacked.objects if version.root.startswith(REMOTE) else None,
        manifest=draft.need(DATASET_FILE, version.digest, f"the file manifest of {version.ref}"),
        digest=version.digest,
        scanned_at=version.created_at.timestamp(),
        allowed_roots=_roots(session, draft),
        statistics=read(dict[str, ChannelStatistics], version.statistics or {}, f"statistics of {version.ref}"),
    )


def _init(session: Session, draft: Draft, init: dict[str, Any]) -> Init:
    strict = init["strict"]
    if "checkpoint_id" in init:
        checkpoint = session.get_one(Checkpoint, init["checkpoint_id"])
        source = f"checkpoint {checkpoint.id} of {checkpoint.run_id}, step {checkpoint.step}"
        path = draft.need("init.pt", checkpoint.digest, source)
        return Init(kind="checkpoint", path=path, sha256=checkpoint.digest, source=source, strict=strict)
    if "model_version_id" in init:
        return _init_of_model(draft, session.get_one(ModelVersion, init["model_version_id"]), strict=strict)
    digest = _file_digest(weights := session.get_one(Weights, init["weights_id"]))
    source = f"weights {weights.id}"
    path = draft.need("init.pth", digest, source)
    return Init(kind="weights", path=path, sha256=digest, source=source, strict=strict)


def _init_of_model(draft: Draft, version: ModelVersion, *, strict: bool) -> Init:
    files = version.files or {}
    name = next((name for name in TENSOR_FORMATS if name in files), None)
    if name is None:
        raise DataError(f"model version {version.ref} has no {' or '.join(TENSOR_FORMATS)} file to start from")
    source, digest = f"{files[name]['path']} of {version.ref}", files[name]["digest"]
    path = draft.need("init.pth", digest, source)
    return Init(kind="weights", path=path, sha256=digest, source=source, format=name, strict=strict)


def _source(session: Session, draft: Draft, source: dict[str, Any]) -> Source:
    if "checkpoint_id" in source:
        checkpoint = session.get_one(Checkpoint, source["checkpoint_id"])
        return Source(kind="checkpoint", path=_checkpoint(draft, checkpoint), sha256=checkpoint.digest)
    if "model_version_id" in source:
        return _bundle(session.get_one(ModelVersion, source["model_version_id"]), draft)
    if "weights_id" in source:
        return _weights(session.get_one(Weights, source["weights_id"]), draft)
    return Source(kind="random", backbone=source["backbone"], seed=source["seed"])


def _checkpoint(draft: Draft, checkpoint: Checkpoint) -> str:
    return draft.need("source.pt", checkpoint.digest, f"checkpoint {checkpoint.id}")


def _bundle(version: ModelVersion, draft: Draft) -> Source:
    if not version.files:
        raise DataError(f"model version {version.ref} has no bundle: it is {version.state}")
    for file in (version.files[name] for name in ("manifest", "onnx")):
        draft.need(f"source/{file['path']}", file["digest"], f"{file['path']} of {version.ref}")
    return Source(kind="bundle", path=str(draft.folder / "source"))


def _weights(weights: Weights, draft: Draft) -> Source:
    digest = _file_digest(weights)
    path = draft.need("source.pth", digest, f"weights {weights.id}")
    return Source(kind="weights", path=path, sha256=digest, backbone=weights.architecture)


def _file_digest(weights: Weights) -> str:
    if weights.file_digest is None:
        raise DataError(f"weights {weights.id} are {weights.state}, not ready")
    return weights.file_digest
