"""The model registry: versions counted by name, aliases that move and remember, pins."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from control.db.models import Checkpoint, Model, ModelVersion, Pin, Run, Weights
from control.db.upsert import insert_if_absent
from control.errors import NotFound
from control.records.names import check_name
from control.records.paging import Listing, Page, paginate
from control.records.runs.submission import NewRun, create_run
from detco_core.contract.manifest import EXPORT_FORMATS, InputSpec, Sizing
from detco_core.contract.reader import plain


@dataclass(frozen=True, kw_only=True, slots=True)
class NewVersion:
    """What is needed to export a checkpoint as the next version of a model."""

    model: str
    """Made on first use."""
    source: Checkpoint | Weights
    """A checkpoint from `history.get_checkpoint`, or imported weights from `weights.usable_weights`."""
    actor: str
    license: str | None = None
    formats: Sequence[str] = EXPORT_FORMATS
    """Those that the architecture has no equivalent in are left out."""
    input: InputSpec | Sizing | None = None
    """Of weights how images are prepared, from `pixels.input_of`; of a run how they are sized, from `pixels.sizing_of`.
    None: as a run's views say, or 8-bit RGB, in the images' own size."""
    after: tuple[str, ...] = ()
    """Runs that must be completed first."""
    token_id: str | None = None
    """Whose quota the export counts against."""


@dataclass(frozen=True, slots=True)
class Export:
    """A model version and the run of kind `export` that makes it."""

    version: ModelVersion
    run: Run


def add_version(session: Session, new: NewVersion) -> Export:
    """Take the next number of the model and submit the export.

    Raises:
        InvalidRequest: the name is not one.
        QuotaExceeded: the token may have no more jobs waiting.
    """
    model = _model_of(session, check_name("name", new.model), new.actor)
    model.last_number += 1
    version = ModelVersion(
        model=model.name,
        number=model.last_number,
        **_origin(new.source),
        formats=list(new.formats),
        license=new.license,
        state="exporting",
        created_by=new.actor,
    )
    session.add(version)
    session.flush()
    job = NewRun(kind="export", spec=_spec(version, new.input), actor=new.actor, after=new.after, token_id=new.token_id)
    run = create_run(session, job)
    version.run_id = run.id
    session.flush()
    return Export(version, run)


def get_model(session: Session, name: str) -> Model:
    """The model; raises `NotFound`."""
    model = session.get(Model, name)
    if model is None or model.deleted_at is not None:
        raise NotFound("model", name)
    return model


def list_models(session: Session, page: Page | None = None) -> Listing[Model]:
    """Models, newest first."""
    return paginate(session, select(Model).where(Model.deleted_at.is_(None)), Model.id, page or Page())


def get_version(session: Session, name: str, number: int) -> ModelVersion:
    """One version of a model; raises `NotFound`."""
    query = select(ModelVersion).where(ModelVersion.model == name, ModelVersion.number == number)
    version = session.scalar(query.where(ModelVersion.state != "deleted"))
    if version is None:
        raise NotFound("model version", f"{name}:{number}")
    return version


def list_versions(session: Session, name: str, page: Page | None = None) -> Listing[ModelVersion]:
    """Versions of a model, newest first; raises `NotFound`."""
    get_model(session, name)
    query = select(ModelVersion).where(ModelVersion.model == name, ModelVersion.state != "deleted")
    return paginate(session, query, ModelVersion.number, page or Page())


def hold_version(session: Session, version: ModelVersion) -> ModelVersion:
    """The version, which cannot be deleted before the row that is to need it is there; raises `NotFound`."""
    held = session.get(ModelVersion, version.id, with_for_update={"read": True}, populate_existing=True)
    if held is None or held.state == "deleted":
        raise NotFound("model version", version.ref)
    return held


def list_pins(session: Session, version: ModelVersion, page: Page | None = None) -> Listing[Pin]:
    """Consumers that need this version to stay, by name."""
    query = select(Pin).where(Pin.model_version_id == version.id)
    return paginate(session, query, Pin.consumer, page or Page(), ascending=True)


def pin(session: Session, version: ModelVersion, consumer: str, actor: str) -> Pin:
    """Keep a version for a consumer; pinning again changes nothing. Raises `NotFound` when it is deleted."""
    check_name("consumer", consumer)
    hold_version(session, version)
    found = session.get(Pin, (version.id, consumer))
    if found is not None:
        return found
    made = Pin(model_version_id=version.id, consumer=consumer, created_by=actor)
    session.add(made)
    session.flush()
    return made


def unpin(session: Session, version: ModelVersion, consumer: str) -> None:
    """Let a consumer's pin go; raises `NotFound` when it has none."""
    found = session.get(Pin, (version.id, consumer))
    if found is None:
        raise NotFound("pin", f"{version.ref} for {consumer}")
    session.delete(found)


def _model_of(session: Session, name: str, actor: str) -> Model:
    insert_if_absent(session, Model, {"name": name, "version": 1, "last_number": 0, "created_by": actor})
    model = session.get_one(Model, name, with_for_update=True, populate_existing=True)
    model.deleted_at = None
    return model


def _origin(source: Checkpoint | Weights) -> dict[str, Any]:
    if isinstance(source, Weights):
        return {"weights_id": source.id}
    return {"source_run_id": source.run_id, "checkpoint_id": source.id}


def _spec(version: ModelVersion, input: InputSpec | Sizing | None) -> dict[str, Any]:
    return {
        "checkpoint_id": version.checkpoint_id,
        "weights_id": version.weights_id,
        "model_version_id": version.id,
        "formats": list(version.formats),
        "license": version.license,
        "input": None if input is None else plain(input),
    }
