"""Pretraining runs: plan, submit, find."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from sqlalchemy.orm import Session

from control.records import audit
from control.records.plans import Plan, plan
from control.records.principals import Principal
from control.records.runs import NewRun, create_run, get_run, list_runs
from control.states import State
from detco_core.contract.errors import InvalidDocument
from detco_core.contract.reader import digest
from server.http.creation import Created, IdempotencyKey, create
from server.http.deps import JobId, Reader, Shared, Submitter, WantedPage
from server.http.etags import etag
from server.http.problems import request_id
from server.http.schemas.base import Page
from server.http.schemas.jobs import JobView
from server.http.schemas.runs import PlanView, RunRequest, RunView
from server.http.translations import from_document
from server.http.views import shown_any, shown_run

router = APIRouter(prefix="/runs", tags=["runs"])


@router.post(
    "",
    status_code=202,
    response_model=RunView,
    responses={200: {"model": PlanView}},
    summary="Submit a pretraining run, or plan one",
)
def submit(
    body: RunRequest,
    who: Submitter,
    services: Shared,
    request: Request,
    key: IdempotencyKey = None,
    dry_run: Annotated[bool, Query(description="Answer 200 with the plan; submit nothing.")] = False,
) -> Any:
    """The preset with the overrides becomes the run's config; a key that is not known is refused by its dotted path.

    A plan has the resolved config, warnings, deviations from the published recipe, and an estimate with its basis.
    """
    if dry_run:
        with services.look() as session:
            return Response(_shown_plan(session, _planned(session, body)).model_dump_json(), 200, media_type=_JSON)

    def make(session: Session) -> Created:
        run = create_run(session, _new_run(_planned(session, body), body, who))
        audit.note(session, who.name, "run.submit", run.id, request_id=request_id(request.scope))
        return Created(f"/v1/runs/{run.id}", shown_run(session, run))

    return create(services, who, request, body, key, make)


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


@router.get("/{job}", summary="Show a run")
def show(job: JobId, _: Reader, services: Shared, response: Response) -> RunView | JobView:
    """Its state, progress, newest metrics, place in the queue and what may be asked of it.

    The id of another kind of job, such as a scan, gives what all jobs have.
    """
    with services.look() as session:
        run = get_run(session, job)
        response.headers["ETag"] = etag(run.version)
        return shown_any(session, run)


_JSON = "application/json"


def _planned(session: Session, body: RunRequest) -> Plan:
    try:
        return plan(session, body.preset, body.overrides, body.dataset, body.gpus)
    except InvalidDocument as error:
        under = () if error.what == "preset" else ("overrides",)
        raise from_document(error, under, whole_keys=True) from error


def _new_run(planned: Plan, body: RunRequest, who: Principal) -> NewRun:
    return NewRun(
        kind="pretrain",
        spec=planned.spec,
        actor=who.name,
        dataset_version_id=planned.dataset.id,
        config_digest=digest(planned.config),
        name=body.name,
        labels=body.labels,
        group=body.group,
        priority=body.priority,
        gpus=body.gpus,
        max_attempts=body.max_attempts,
        after=body.after,
    )


def _shown_plan(session: Session, planned: Plan) -> PlanView:
    return PlanView.model_validate(
        {
            "config": planned.config,
            "config_digest": digest(planned.config),
            "dataset": planned.dataset.ref,
            "warnings": [asdict(warned) for warned in planned.warnings],
            "deviations": [asdict(deviation) for deviation in planned.deviations],
            "estimate": asdict(planned.estimate(session)),
        }
    )
