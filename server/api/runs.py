"""Pretraining runs: plan, submit, find, steer."""

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from sqlalchemy.orm import Session

from control.records import audit
from control.records.plans import plan
from control.records.runs import NewRun, create_run, get_run, list_runs
from control.states import State
from detco_core.contract.errors import InvalidDocument
from detco_core.contract.reader import digest
from server.http.creation import Created, IdempotencyKey, create
from server.http.deps import JobId, Reader, Services, Shared, Submitter, WantedPage
from server.http.etags import IfNoneMatch, etag
from server.http.problems import request_id
from server.http.schemas.base import Page
from server.http.schemas.runs import Caution, DeviationView, EstimateView, PlanView, RunRequest, RunView
from server.http.translations import from_document
from server.http.views import shown_run

router = APIRouter(prefix="/runs", tags=["runs"])


@router.post(
    "", status_code=202, summary="Submit a pretraining run, or plan one", responses={200: {"model": PlanView}}
)
def submit(
    body: RunRequest,
    who: Submitter,
    services: Shared,
    request: Request,
    key: IdempotencyKey = None,
    dry_run: Annotated[bool, Query(description="Answer with the plan; submit nothing.")] = False,
) -> RunView:
    """The preset and the overrides become the run's config; a key that is not known is refused by its dotted path.

    With `dry_run=true` the answer is 200 and a plan: the resolved config, warnings, deviations from the published
    recipe, and an estimate with its basis.
    """
    try:
        return _planned(services, body) if dry_run else _submitted(services, body, who, request, key)
    except InvalidDocument as error:
        inside = () if error.what == "preset" else ("overrides",)
        raise from_document(error, inside, whole_keys=True) from error


@router.get("", summary="List pretraining runs, newest first")
def list_all(
    _: Reader,
    services: Shared,
    page: WantedPage,
    state: State | None = None,
    label: Annotated[str | None, Query(description="`key` or `key=value`.", max_length=300)] = None,
    group: Annotated[str | None, Query(max_length=200)] = None,
) -> Page[RunView]:
    """Filtered by state, label and group."""
    with services.look() as session:
        found = list_runs(session, ("pretrain",), state=state, label=label, group=group, page=page)
        return Page(items=[shown_run(session, run) for run in found.items], next_page_token=found.next_page_token)


@router.get("/{run}", summary="Show a pretraining run")
def show(
    run: JobId, _: Reader, services: Shared, response: Response, if_none_match: IfNoneMatch = None
) -> RunView:
    """Its state, progress, newest metrics, place in the queue and what may be asked of it."""
    with services.look() as session:
        row = get_run(session, run, ("pretrain",))
        response.headers["ETag"] = etag(row.version)
        return shown_run(session, row)
