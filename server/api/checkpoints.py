"""The checkpoints of a pretraining run: find, download, pin, and say which are kept."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from sqlalchemy.orm import Session

from control.db.models import Checkpoint, Run
from control.records.access import audit
from control.records.access.principals import Principal
from control.records.journal.history import get_checkpoint, list_checkpoints
from control.records.runs import checkpoints
from control.records.runs.runs import get_run
from server.http.answers.files import BINARY, StoredFile, send_file
from server.http.changes.deletion import DryRun
from server.http.deps import JobId, Named, Reader, Services, Shared, Submitter, WantedPage
from server.http.problems import request_id
from server.http.schemas.base import Page
from server.http.schemas.keeping import CheckpointView, KeepReport, KeepRequest, checkpoint_view, keep_report

router = APIRouter(prefix="/runs/{job}", tags=["runs"])


@router.get("/checkpoints", summary="A run's checkpoints, newest first")
def list_all(
    job: JobId,
    _: Reader,
    services: Shared,
    page: WantedPage,
    deleted: Annotated[bool, Query(description="Those that are deleted, too.")] = False,
) -> Page[CheckpointView]:
    """Those that are in the store, complete and with their digest; `kept_because` says why each will stay."""
    with services.look() as session:
        run = get_run(session, job, ("pretrain",))
        found = list_checkpoints(session, job, page, deleted=deleted)
        items = _shown(services, session, run, found.items)
    return Page(items=items, next_page_token=found.next_page_token)


@router.get("/checkpoints/{checkpoint}", summary="Show a checkpoint")
def show(job: JobId, checkpoint: Named, _: Reader, services: Shared) -> CheckpointView:
    """By id, `last`, or `best`: the one with the best score by the run's monitor so far; 409 without a monitor."""
    with services.look() as session:
        run = get_run(session, job, ("pretrain",))
        return _shown(services, session, run, [get_checkpoint(session, job, checkpoint)])[0]


@router.get(
    "/checkpoints/{checkpoint}/file", summary="Download a checkpoint", response_class=Response, responses=BINARY
)
def file(job: JobId, checkpoint: Named, _: Reader, services: Shared, request: Request) -> Response:
    """Loads with `torch.load(weights_only=True)`; Range, ETag and If-Range are honoured."""
    with services.look() as session:
        get_run(session, job, ("pretrain",))
        row = get_checkpoint(session, job, checkpoint)
    name = f"{job}-step-{row.step:08d}.pt"
    return send_file(request, StoredFile.of_store(services.reading, name, row.digest))


@router.put("/checkpoints/{checkpoint}/pin", summary="Pin a checkpoint")
def pin(job: JobId, checkpoint: Named, who: Submitter, services: Shared, request: Request) -> CheckpointView:
    """It stays, and holds its run, until the pin is taken away. Pinning again changes nothing."""
    with services.work() as session:
        run = get_run(session, job, ("pretrain",))
        row = checkpoints.pin(session, get_checkpoint(session, job, checkpoint), who.name)
        _note(session, who, request, "checkpoint.pin", row.id)
        return _shown(services, session, run, [row])[0]


@router.delete("/checkpoints/{checkpoint}/pin", summary="Take the pin of a checkpoint away")
def unpin(job: JobId, checkpoint: Named, who: Submitter, services: Shared, request: Request) -> CheckpointView:
    """It goes with the next clean-up unless something else keeps it: see `kept_because`."""
    with services.work() as session:
        run = get_run(session, job, ("pretrain",))
        row = checkpoints.unpin(session, get_checkpoint(session, job, checkpoint))
        _note(session, who, request, "checkpoint.unpin", row.id)
        return _shown(services, session, run, [row])[0]


@router.put("/keep", summary="Say which checkpoints of a run are kept")
def keep(
    job: JobId, body: KeepRequest, who: Submitter, services: Shared, request: Request, dry_run: DryRun = False
) -> KeepReport:
    """In any state of the run; what is left out is the service's setting. Pinned checkpoints and those that others need
    stay whatever is said here. The answer names what goes and its bytes; with `dry_run` nothing is changed.
    """
    said = body.model_dump(exclude_none=True)
    policy = services.settings.keep_policy.changed(said)
    if dry_run:
        with services.look() as session:
            judged = checkpoints.judge(session, get_run(session, job, ("pretrain",)), policy)
        return keep_report(job, policy, judged, dry_run=True)
    with services.work() as session:
        run = checkpoints.set_policy(session, get_run(session, job, ("pretrain",)), said)
        _note(session, who, request, "run.keep", run.id)
        return keep_report(job, policy, checkpoints.judge(session, run, policy), dry_run=False)


def _shown(services: Services, session: Session, run: Run, rows: list[Checkpoint]) -> list[CheckpointView]:
    policy = checkpoints.policy_of(run, services.settings.keep_policy)
    why = checkpoints.judge(session, run, policy).reasons
    return [checkpoint_view(row, why.get(row.id, ())) for row in rows]


def _note(session: Session, who: Principal, request: Request, action: str, target: str) -> None:
    audit.note(session, who.name, action, target, request_id=request_id(request.scope))
