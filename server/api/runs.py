"""Pretraining runs: plan, submit, find."""

from typing import Any

from fastapi import APIRouter, Response
from sqlalchemy.orm import Session

from control.records.planning.plans import Plan, plan
from control.records.runs.runs import get_run
from server.http.answers.etags import etag
from server.http.changes.creation import Posted
from server.http.deps import JobId, Reader, Shared
from server.http.jobs.listing import WantedJobs
from server.http.jobs.submission import PlanOnly, submit_run
from server.http.schemas.base import Page
from server.http.schemas.jobs import JobView
from server.http.schemas.runs import PlanView, RunRequest, RunView
from server.http.views import shown_any, shown_runs

router = APIRouter(prefix="/runs", tags=["runs"])


@router.post(
    "",
    status_code=202,
    response_model=RunView,
    responses={200: {"model": PlanView}},
    summary="Submit a pretraining run, or plan one",
)
def submit(body: RunRequest, posted: Posted, plan_only: PlanOnly = False) -> Any:
    """The preset with the overrides becomes the run's config; a key that is not known is refused by its dotted path.

    A plan has the resolved config, warnings, deviations from the published recipe, and an estimate with its basis.
    """

    def planned(session: Session) -> Plan:
        init = None if body.init is None else body.init.model_dump(exclude_none=True)
        return plan(session, body.preset, body.overrides, body.dataset, body.gpus, init, body.nodes)

    return submit_run(posted, body, planned, "run.submit", plan_only=plan_only)


@router.get("", summary="List pretraining runs, newest first")
def list_all(_: Reader, services: Shared, wanted: WantedJobs) -> Page[RunView]:
    """Filtered by state, label and group."""
    with services.look() as session:
        found = wanted.find(session, "pretrain")
        return Page(items=shown_runs(session, found.items), next_page_token=found.next_page_token)


@router.get("/{job}", summary="Show a run")
def show(job: JobId, _: Reader, services: Shared, response: Response) -> RunView | JobView:
    """Its state, progress, newest metrics, place in the queue and what may be asked of it.

    The id of another kind of job, such as a scan, gives what all jobs have.
    """
    with services.look() as session:
        run = get_run(session, job)
        response.headers["ETag"] = etag(run.version)
        return shown_any(session, run)
