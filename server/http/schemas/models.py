"""The registry: models, their versions, aliases with history, pins."""

from datetime import datetime
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from control.db.models import Alias, AliasMove, Model, ModelVersion, Pin, Run
from control.states import Action
from detco_core.contract.manifest import EXPORT_FORMATS, ExportFormat
from server.http.schemas.base import Body, Json, Options, Resource, Text, View
from server.http.schemas.jobs import ProgressView, Waiting, job_fields


def _servable(formats: tuple[ExportFormat, ...]) -> tuple[ExportFormat, ...]:
    if "onnx" not in formats or len(set(formats)) < len(formats):
        raise ValueError("must hold onnx, which is what the service runs, and no format twice")
    return formats


Formats = Annotated[tuple[ExportFormat, ...], AfterValidator(_servable)]


class ExportRequest(Body):
    """A new version of a model: from a checkpoint of a run in any state, or from imported weights."""

    run: Text | None = None
    checkpoint: Text | None = None
    """Of the run: `last` (when it is left out), `best`, or an id."""
    weights: Text | None = None
    """Id or name."""
    formats: Formats = EXPORT_FORMATS
    """Those the architecture has no equivalent in are left out, and the manifest says why."""
    input: Options | None = None
    """How images are prepared, by keys of the manifest's `input`: of weights `mean`, `std`, `bit_depth`, `short_side`,
    ... (null: 8-bit RGB with ImageNet's mean and deviation; weights for other than three channels need it); of a run
    `short_side`, `max_side` and `multiple`, since its checkpoint knows the rest."""
    license: Text | None = None
    """Of the weights. When none is named: that of the data sets and weights they came from, if those all agree."""
    priority: int = Field(default=0, ge=-100, le=100)

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.run is None) == (self.weights is None) or (self.weights and self.checkpoint):
            raise ValueError("give either run, with a checkpoint of it, or weights")
        return self


class AliasRequest(Body):
    """Where an alias is to point."""

    version: int = Field(ge=1)


class ExportJob(View):
    """The job that makes a version; cancel it and follow its events at the version's own paths."""

    id: str
    state: str
    desired_state: str
    attempt: int
    progress: ProgressView | None
    queue_position: int | None
    waiting_reason: str | None
    waiting_detail: str | None
    available_actions: tuple[Action, ...]


class ModelVersionView(Resource):
    """One exported bundle."""

    model: str
    version: int
    ref: str
    """`name:version`"""
    state: str
    """`exporting`, `ready` or `failed`."""
    reason: str | None
    attempt: int
    progress: ProgressView | None
    available_actions: tuple[Action, ...]
    job: ExportJob | None
    formats: list[str]
    """That it was asked for."""
    files: dict[str, "FileView"] | None
    """That it has, by format."""
    weights_digest: str | None
    manifest: Json | None
    parity: Json | None
    lineage: Json | None
    source: Json
    """What it was exported from: `{run, checkpoint}` or `{weights}`."""
    license: str | None
    aliases: list[str]
    """That name it now."""


class FileView(View):
    """A file of a bundle; its bytes are at `/v1/models/{name}/versions/{v}/files/{format}`."""

    bytes: int
    sha256: str


class ModelView(Resource):
    """A name under which versions are counted."""

    name: str
    latest_version: int | None
    aliases: dict[str, int]
    """Version by alias."""


class AliasView(View):
    """Where an alias points; `etag` is what `If-Match` takes."""

    model: str
    alias: str
    version: int
    etag: str
    created_at: datetime
    created_by: str
    moved_at: datetime


class AliasMoveView(View):
    """One move of an alias."""

    id: int
    from_version: int | None
    to_version: int | None
    """Null: it was taken away."""
    created_at: datetime
    created_by: str


class PinView(View):
    """A consumer that needs a version to stay."""

    model: str
    version: int
    consumer: str
    created_at: datetime
    created_by: str


def model_view(row: Model, aliases: list[Alias]) -> ModelView:
    return ModelView(
        id=row.id,
        created_at=row.created_at,
        created_by=row.created_by,
        name=row.name,
        latest_version=row.last_number or None,
        aliases={alias.name: alias.number for alias in aliases},
    )


def model_version_view(row: ModelVersion, aliases: list[str], job: Run | None, waiting: Waiting) -> ModelVersionView:
    same = (
        *("id", "created_at", "created_by", "model", "ref", "state", "reason", "formats", "weights_digest"),
        *("manifest", "parity", "lineage", "license"),
    )
    work = None if job is None else ExportJob.model_validate(job_fields(job, waiting))
    files = {name: {"bytes": f["bytes"], "sha256": f["digest"]} for name, f in (row.files or {}).items()}
    return ModelVersionView.model_validate(
        {field: getattr(row, field) for field in same}
        | {
            "version": row.number,
            "attempt": work.attempt if work else 0,
            "progress": work.progress if work else None,
            "available_actions": work.available_actions if work else (),
            "job": work,
            "files": files or None,
            "source": _source(row),
            "aliases": aliases,
        }
    )


def _source(row: ModelVersion) -> dict[str, str | None]:
    if row.weights_id is not None:
        return {"weights": row.weights_id}
    return {"run": row.source_run_id, "checkpoint": row.checkpoint_id}


def alias_view(row: Alias) -> AliasView:
    return AliasView(
        model=row.model,
        alias=row.name,
        version=row.number,
        etag=f'"{row.version}"',
        created_at=row.created_at,
        created_by=row.created_by,
        moved_at=row.moved_at,
    )


def move_view(row: AliasMove) -> AliasMoveView:
    return AliasMoveView(
        id=row.id,
        from_version=row.from_number,
        to_version=row.to_number,
        created_at=row.created_at,
        created_by=row.created_by,
    )


def pin_view(row: Pin, version: ModelVersion) -> PinView:
    return PinView(
        model=version.model,
        version=version.number,
        consumer=row.consumer,
        created_at=row.created_at,
        created_by=row.created_by,
    )
