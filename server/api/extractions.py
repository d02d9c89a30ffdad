"""Bulk extractions: plan, submit, find, and bring their files home."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from sqlalchemy.orm import Session

from control.db.models import Run
from control.records.access.principals import Principal
from control.records.journal.history import get_artifact, page_artifacts
from control.records.planning.extractions import (
    Bounds,
    Boxes,
    ExtractionPlan,
    NewExtraction,
    plan_extraction,
)
from control.records.runs.runs import get_run
from control.records.runs.submission import create_run
from detco_core.contract.errors import InvalidDocument
from detco_core.contract.extractions.files import FOLDER
from server.http.answers.files import BINARY, StoredFile, send_file
from server.http.changes.creation import Created, Posted
from server.http.deps import JobId, Reader, Services, Shared, WantedPage
from server.http.errors.translations import from_document
from server.http.jobs.boxes import open_boxes
from server.http.jobs.jobs import require_model_of
from server.http.jobs.listing import WantedJobs
from server.http.jobs.submission import PlanOnly, submit_or_plan, terms
from server.http.schemas.base import Page
from server.http.schemas.extractions import (
    ExtractionFileView,
    ExtractionPlanView,
    ExtractionRequest,
    ExtractionView,
    extraction_plan_view,
)
from server.http.views import shown_extraction, shown_extractions

FileName = Annotated[str, Path(max_length=100, pattern=r"^[0-9a-z][0-9a-z.]*$")]

router = APIRouter(prefix="/extractions", tags=["extractions"])


@router.post(
    "",
    status_code=202,
    response_model=ExtractionView,
    responses={200: {"model": ExtractionPlanView}},
    summary="Submit an extraction, or plan one",
)
def submit(body: ExtractionRequest, posted: Posted, plan_only: PlanOnly = False) -> Any:
    """The features of every image of a data set, to sharded files. Its bytes are estimated first; more than the service
    allows is 422 with the estimate and what makes it smaller.
    """
    boxes = open_boxes(posted.services, body.boxes_from) if body.boxes_from else None

    def planned(session: Session) -> ExtractionPlan:
        return _planned(session, posted.services, posted.who, body, boxes)

    def make(session: Session) -> Created:
        run = create_run(session, planned(session).run(session, **terms(body, posted.who)))
        posted.note(session, "extraction.submit", run.id)
        return Created(f"/v1/extractions/{run.id}", shown_extraction(session, run))

    def show_plan(session: Session) -> ExtractionPlanView:
        return extraction_plan_view(planned(session))

    return submit_or_plan(posted, body, make, show_plan, plan_only=plan_only)


@router.get("", summary="List extractions, newest first")
def list_all(_: Reader, services: Shared, wanted: WantedJobs) -> Page[ExtractionView]:
    """Filtered by state, label and group."""
    with services.look() as session:
        found = wanted.find(session, "extract")
        return Page(items=shown_extractions(session, found.items), next_page_token=found.next_page_token)


@router.get("/{job}", summary="Show an extraction")
def show(job: JobId, _: Reader, services: Shared) -> ExtractionView:
    """With its report once it is completed."""
    with services.look() as session:
        return shown_extraction(session, get_run(session, job, ("extract",)))


@router.get("/{job}/files", summary="Files of an extraction")
def files(job: JobId, _: Reader, services: Shared, page: WantedPage) -> Page[ExtractionFileView]:
    """By name, with their digests: shards, the index part of each, and `index.json` once it is completed. Those that
    are there by now can be used: an index part says that its shard is complete.
    """
    with services.look() as session:
        _extraction(session, job)
        found = page_artifacts(session, job, page)
    items = [
        ExtractionFileView(path=row.name.removeprefix(f"{FOLDER}/"), bytes=row.bytes, sha256=row.digest)
        for row in found.items
    ]
    return Page(items=items, next_page_token=found.next_page_token)


@router.get(
    "/{job}/files/{path}", summary="Download a file of an extraction", response_class=Response, responses=BINARY
)
def file(job: JobId, path: FileName, who: Reader, services: Shared, request: Request) -> Response:
    """Range, ETag and If-Range are honoured."""
    with services.look() as session:
        _extraction(session, job)
        require_model_of(session, who, job)
        row = get_artifact(session, job, f"{FOLDER}/{path}")
    return send_file(request, StoredFile.of_store(services.reading, f"{job}-{path}", row.digest))


def _extraction(session: Session, job: str) -> Run:
    return get_run(session, job, ("extract",))


def _planned(
    session: Session, services: Services, who: Principal, body: ExtractionRequest, boxes: Boxes | None
) -> ExtractionPlan:
    who.require_model(body.model.partition(":")[0].partition("@")[0])
    settings = services.settings
    bounds = Bounds(
        bytes=settings.max_extraction_bytes,
        image_bytes=settings.max_request_bytes,
        image_pixels=settings.max_image_pixels,
    )
    asked = NewExtraction(model=body.model, dataset=body.dataset, options=body.options, boxes=boxes)
    try:
        return plan_extraction(session, asked, bounds)
    except InvalidDocument as error:
        raise from_document(error) from error
