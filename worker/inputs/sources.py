"""What a job begins with or looks at: checkpoints, bundles and weights."""

from dataclasses import replace
from typing import Any

from sqlalchemy.orm import Session

from control.db.models import Checkpoint, ModelVersion, Weights
from control.records.models.pixels import channels_of
from control.records.models.sources import TENSOR_FORMATS
from detco_core.contract.errors import DataError
from detco_core.contract.evaluations import Source
from detco_core.contract.jobs import Init
from worker.inputs.draft import Draft


def init_of(session: Session, draft: Draft, init: dict[str, Any]) -> Init:
    """What a run starts from instead of random weights."""
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


def source_of(session: Session, draft: Draft, source: dict[str, Any]) -> Source:
    """What an evaluation looks at."""
    if "checkpoint_id" in source:
        checkpoint = session.get_one(Checkpoint, source["checkpoint_id"])
        return Source(kind="checkpoint", path=checkpoint_file(draft, checkpoint), sha256=checkpoint.digest)
    if "model_version_id" in source:
        return bundle_of(draft, session.get_one(ModelVersion, source["model_version_id"]))
    if "weights_id" in source:
        weights = session.get_one(Weights, source["weights_id"])
        return replace(weights_of(draft, weights), channels=channels_of(session, weights))
    return Source(kind="random", backbone=source["backbone"], seed=source["seed"])


def checkpoint_file(draft: Draft, checkpoint: Checkpoint) -> str:
    """The path at which a checkpoint lies, once the job is prepared."""
    return draft.need("source.pt", checkpoint.digest, f"checkpoint {checkpoint.id}")


def bundle_of(draft: Draft, version: ModelVersion) -> Source:
    """The manifest and the ONNX file of a model version, in a folder of their own."""
    if not version.files:
        raise DataError(f"model version {version.ref} has no bundle: it is {version.state}")
    for file in (version.files[name] for name in ("manifest", "onnx")):
        draft.need(f"source/{file['path']}", file["digest"], f"{file['path']} of {version.ref}")
    return Source(kind="bundle", path=str(draft.folder / "source"))


def weights_of(draft: Draft, weights: Weights) -> Source:
    """Weights brought in from outside, once they are checked."""
    digest = _file_digest(weights)
    path = draft.need("source.pth", digest, f"weights {weights.id}")
    return Source(kind="weights", path=path, sha256=digest, backbone=weights.architecture)


def _file_digest(weights: Weights) -> str:
    if weights.file_digest is None:
        raise DataError(f"weights {weights.id} are {weights.state}, not ready")
    return weights.file_digest
