"""Evaluations: submit, find, compare."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from sqlalchemy.orm import Session

from control.records.access.principals import Principal
from control.records.planning.evaluations import NewEvaluation, evaluation_run
from control.records.runs.runs import get_run
from control.records.runs.submission import NewRun, create_run
from detco_core.contract.errors import InvalidDocument
from server.http.changes.creation import Created, Posted
from server.http.deps import JobId, Reader, Shared
from server.http.errors.translations import from_document
from server.http.jobs.comparison import GroupBy, compare
from server.http.jobs.listing import WantedJobs
from server.http.jobs.submission import PlanOnly, submit_or_plan, terms
from server.http.schemas.base import Page
from server.http.schemas.evaluations import ComparisonTable, EvaluationPlanView, EvaluationRequest, EvaluationView
from server.http.views import shown_evaluation, shown_evaluation_plan, shown_evaluations

router = APIRouter(prefix="/evaluations", tags=["evaluations"])


@router.post(
    "",
    status_code=202,
    response_model=EvaluationView,
    responses={200: {"model": EvaluationPlanView}},
    summary="Submit an evaluation, or plan one",
)
def submit(body: EvaluationRequest, posted: Posted, plan_only: PlanOnly = False) -> Any:
    """One task on one source: a checkpoint of a run in any state, a model, or random weights as the floor."""

    def show_plan(session: Session) -> EvaluationPlanView:
        return shown_evaluation_plan(session, _new_run(session, body, posted.who))

    def make(session: Session) -> Created:
        run = create_run(session, _new_run(session, body, posted.who))
        posted.note(session, "evaluation.submit", run.id)
        return Created(f"/v1/evaluations/{run.id}", shown_evaluation(session, run))

    return submit_or_plan(posted, body, make, show_plan, plan_only=plan_only)


@router.get("", summary="List evaluations, newest first")
def list_all(_: Reader, services: Shared, wanted: WantedJobs) -> Page[EvaluationView]:
    """Filtered by state, label and group."""
    with services.look() as session:
        found = wanted.find(session, "evaluate")
        return Page(items=shown_evaluations(session, found.items), next_page_token=found.next_page_token)


@router.get("/compare", summary="Scores of several evaluations side by side")
def comparison(
    _: Reader,
    services: Shared,
    ids: Annotated[list[str], Query(alias="id", min_length=1, max_length=100, description="Of each evaluation.")],
    group_by: Annotated[
        GroupBy | None, Query(description="`group`, `dataset`, `name`, `source`, or a label as `label:KEY`.")
    ] = None,
) -> ComparisonTable:
    """Each score's mean and spread over every group of completed evaluations of one task."""
    with services.look() as session:
        runs = [get_run(session, one, ("evaluate",)) for one in dict.fromkeys(ids)]
        found = shown_evaluations(session, runs)
    return compare(found, group_by)


@router.get("/{job}", summary="Show an evaluation")
def show(job: JobId, _: Reader, services: Shared) -> EvaluationView:
    """With its report once it is completed."""
    with services.look() as session:
        return shown_evaluation(session, get_run(session, job, ("evaluate",)))


def _new_run(session: Session, body: EvaluationRequest, who: Principal) -> NewRun:
    asked = NewEvaluation(
        task=body.task,
        source=body.source.model_dump(exclude_none=True),
        dataset=body.dataset,
        options=body.options,
        seed=body.seed,
    )
    try:
        return evaluation_run(session, asked, **terms(body, who))
    except InvalidDocument as error:
        raise from_document(error, () if error.what == "evaluation" else ("options",)) from error
