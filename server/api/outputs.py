"""What a pretraining run leaves: its checkpoints."""

from fastapi import APIRouter, Request, Response

from control.records.history import get_checkpoint, list_checkpoints
from control.records.runs import get_run
from server.http.deps import JobId, Named, Reader, Shared, WantedPage
from server.http.files import BINARY, StoredFile, send_file
from server.http.schemas.base import Page
from server.http.schemas.jobs import CheckpointView, checkpoint_view

router = APIRouter(prefix="/runs/{job}", tags=["runs"])


@router.get("/checkpoints", summary="A run's checkpoints, newest first")
def checkpoints(job: JobId, _: Reader, services: Shared, page: WantedPage) -> Page[CheckpointView]:
    """Those that are in the store, complete and with their digest."""
    with services.look() as session:
        get_run(session, job, ("pretrain",))
        found = list_checkpoints(session, job, page)
        return Page(items=[checkpoint_view(row) for row in found.items], next_page_token=found.next_page_token)


@router.get("/checkpoints/{checkpoint}", summary="Show a checkpoint")
def checkpoint(job: JobId, checkpoint: Named, _: Reader, services: Shared) -> CheckpointView:
    """By id, `last`, or `best`: the one with the best score by the run's monitor so far; 409 without a monitor."""
    with services.look() as session:
        get_run(session, job, ("pretrain",))
        return checkpoint_view(get_checkpoint(session, job, checkpoint))


@router.get(
    "/checkpoints/{checkpoint}/file", summary="Download a checkpoint", response_class=Response, responses=BINARY
)
def checkpoint_file(job: JobId, checkpoint: Named, _: Reader, services: Shared, request: Request) -> Response:
    """Loads with `torch.load(weights_only=True)`; Range, ETag and If-Range are honoured."""
    with services.look() as session:
        get_run(session, job, ("pretrain",))
        row = get_checkpoint(session, job, checkpoint)
    name = f"{job}-step-{row.step:08d}.pt"
    return send_file(request, StoredFile.of_store(services.store, row.key, name, row.bytes, row.digest))
