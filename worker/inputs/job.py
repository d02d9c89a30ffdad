"""A run's spec as the job that works on it: from the tables alone, with a list of what must be brought first."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

from sqlalchemy.orm import Session

from control.db.models import Checkpoint, DatasetVersion, ModelVersion, Weights
from control.records.journal.history import index_parts
from control.records.models.lineage import inherited, lineage_of
from detco_core.contract.config import read_config
from detco_core.contract.datasets import REMOTE, DatasetKind
from detco_core.contract.evaluations import EvaluationSpec
from detco_core.contract.extractions.options import ExtractionOptions
from detco_core.contract.jobs import CheckJob, EvaluateJob, ExportJob, ExtractJob, ImportJob, Job, PretrainJob
from detco_core.contract.manifest import InputSpec, Sizing
from detco_core.contract.reader import read
from detco_core.contract.weights import WeightsFormat
from worker.inputs.data import dataset_of, root_of, roots_of, uploaded
from worker.inputs.draft import Draft
from worker.inputs.sources import bundle_of, checkpoint_file, init_of, source_of, weights_of

RESUME_FILE = "resume.pt"
_MOST_WAITING = 4
"""Shards of features that may lie on the disk until they are in the store; the job waits then."""


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
        dataset=dataset_of(session, draft),
        run=draft.run.id,
        init=init_of(session, draft, spec["init"]) if spec.get("init") else None,
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
        source=source_of(session, draft, spec["source"]),
        options=spec.get("options") or {},
        seed=spec.get("seed", 0),
    )
    return EvaluateJob(folder=str(draft.folder), spec=evaluation, dataset=dataset_of(session, draft), run=draft.run.id)


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
        source = weights_of(draft, weights)
        return {
            "weights": source.path,
            "weights_sha256": source.sha256,
            "architecture": source.backbone,
            "input": read(InputSpec, spec["input"], "input") if spec.get("input") else None,
            "lineage": lineage_of(session, weights),
        }
    checkpoint = session.get_one(Checkpoint, spec["checkpoint_id"])
    return {
        "checkpoint": checkpoint_file(draft, checkpoint),
        "checkpoint_sha256": checkpoint.digest,
        "sizing": read(Sizing, spec["input"], "input") if spec.get("input") else None,
        "lineage": lineage_of(session, checkpoint),
    }


def _check(session: Session, draft: Draft) -> Job:
    version = session.get_one(DatasetVersion, draft.run.spec["dataset_version_id"])
    return CheckJob(
        folder=str(draft.folder),
        root=root_of(session, draft, version),
        cache=draft.unpacked.objects if version.root.startswith(REMOTE) else None,
        kind=cast(DatasetKind, version.kind),
        splits=version.split_folders or {},
        exclude=tuple(version.exclude),
        allowed_roots=roots_of(session, draft),
        run=draft.run.id,
    )


def _import(session: Session, draft: Draft) -> Job:
    spec = draft.run.spec
    weights = session.get_one(Weights, spec["weights_id"])
    return ImportJob(
        folder=str(draft.folder),
        path=uploaded(session, draft, spec["path"], "import.pth"),
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
        bundle=str(bundle_of(draft, version).path),
        dataset=dataset_of(session, draft),
        options=read(ExtractionOptions, spec["options"]),
        boxes=uploaded(session, draft, spec["boxes"], "boxes.json") if spec["boxes"] else None,
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
