"""Models and their versions: export, find, download."""

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request, Response
from sqlalchemy.orm import Session

from control.db.models import Checkpoint, Weights
from control.errors import NotFound
from control.records.journal.history import usable_checkpoint
from control.records.models import registry
from control.records.models.aliases import list_aliases
from control.records.models.pixels import input_of, sizing_of
from control.records.models.registry import NewVersion
from control.records.models.weights import usable_weights
from control.records.runs.runs import get_run
from detco_core.contract.manifest import InputSpec, Sizing
from server.http.answers.files import BINARY, StoredFile, send_file
from server.http.changes.creation import Created, Posted, create
from server.http.deps import Named, Number, Reader, Shared, WantedPage
from server.http.schemas.base import Page
from server.http.schemas.models import ExportRequest, ModelVersionView, ModelView, model_view
from server.http.views import shown_model_version

router = APIRouter(prefix="/models", tags=["models"])


@router.post(
    "/{name}/versions",
    status_code=202,
    response_model=ModelVersionView,
    summary="Export a checkpoint or weights as the next version of a model",
)
def export(name: Named, body: ExportRequest, posted: Posted) -> Any:
    """From a checkpoint of a run in any state, or from imported weights. A job writes the files, proves each equal to
    torch, and refuses if they differ; the model is made on first use.
    """
    posted.who.require_model(name)

    def make(session: Session) -> Created:
        source, after = _source(session, body)
        new = NewVersion(
            model=name,
            source=source,
            actor=posted.who.name,
            license=body.license,
            formats=body.formats,
            input=_input(session, source, body.input),
            after=after,
            token_id=posted.who.token_id,
        )
        export = registry.add_version(session, new)
        posted.note(session, "model.export", export.version.ref)
        view = shown_model_version(session, export.version)
        return Created(f"/v1/models/{name}/versions/{export.version.number}", view)

    return create(posted, body, make)


@router.get("", summary="List models, newest first")
def list_all(who: Reader, services: Shared, page: WantedPage) -> Page[ModelView]:
    """With what their aliases point at."""
    with services.look() as session:
        found = registry.list_models(session, page)
        items = [model_view(row, list_aliases(session, row.name)) for row in found.items]
    return Page(items=items, next_page_token=found.next_page_token)


@router.get("/{name}", summary="Show a model")
def show(name: Named, _: Reader, services: Shared) -> ModelView:
    """Its newest version and what its aliases point at."""
    with services.look() as session:
        return model_view(registry.get_model(session, name), list_aliases(session, name))


@router.get("/{name}/versions", summary="List the versions of a model, newest first")
def versions(name: Named, _: Reader, services: Shared, page: WantedPage) -> Page[ModelVersionView]:
    """All of them, failed ones too."""
    with services.look() as session:
        found = registry.list_versions(session, name, page)
        items = [shown_model_version(session, row) for row in found.items]
        return Page(items=items, next_page_token=found.next_page_token)


@router.get("/{name}/versions/{number}", summary="Show a version of a model")
def version(name: Named, number: Number, _: Reader, services: Shared) -> ModelVersionView:
    """State, manifest, parity with torch, lineage and files."""
    with services.look() as session:
        return shown_model_version(session, registry.get_version(session, name, number))


@router.get(
    "/{name}/versions/{number}/files/{format}",
    response_class=Response,
    responses=BINARY,
    summary="Download a file of a version",
)
def file(name: Named, number: Number, format: Named, who: Reader, services: Shared, request: Request) -> Response:
    """`onnx`, `torchvision`, `timm`, `detectron2`, `mmdetection`, `manifest`, `advice`; by Range if you like."""
    who.require_model(name)
    with services.look() as session:
        files = registry.get_version(session, name, number).files or {}
    if format not in files:
        raise NotFound("file", f"{name}:{number}/{format}; it has {', '.join(files) or 'none yet'}")
    found = files[format]
    leaf = f"{name}-{number}-{str(found['path']).rpartition('/')[2]}"
    return send_file(request, StoredFile.of_store(services.reading, leaf, found["digest"]))


def _source(session: Session, body: ExportRequest) -> tuple[Checkpoint | Weights, tuple[str, ...]]:
    """What is exported, and the jobs that must have ended before."""
    if body.weights is not None:
        return usable_weights(session, body.weights)
    run = get_run(session, body.run or "", ("pretrain",))
    return usable_checkpoint(session, run.id, body.checkpoint or "last"), ()


def _input(
    session: Session, source: Checkpoint | Weights, given: Mapping[str, Any] | None
) -> InputSpec | Sizing | None:
    return input_of(session, source, given) if isinstance(source, Weights) else sizing_of(given)
