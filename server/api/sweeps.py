"""Sweeps: submit or plan many runs at once, see how they compare, cancel them together."""

from typing import Annotated, Any

from fastapi import APIRouter, BackgroundTasks, Query, Request
from sqlalchemy.orm import Session

from control.records.access import audit
from control.records.access.principals import Principal
from control.records.planning.layouts import Layout
from control.records.sweeps import sweeps
from control.records.sweeps.sweep_plans import NewSweep, SweepEvaluation, SweepPlan, plan_sweep
from detco_core.contract.errors import InvalidDocument
from server.http.changes.creation import Created, Posted
from server.http.deps import JobId, Reader, Services, Shared, Submitter, WantedPage
from server.http.errors.translations import from_document
from server.http.jobs.jobs import send_word
from server.http.jobs.submission import PlanOnly, submit_or_plan, training_terms
from server.http.jobs.sweeping import shown_plan, shown_sweep, shown_sweeps
from server.http.problems import request_id
from server.http.schemas.base import Page
from server.http.schemas.sweeps import SweepDetail, SweepPlanView, SweepRequest, SweepView

router = APIRouter(prefix="/sweeps", tags=["sweeps"])


@router.post(
    "",
    status_code=202,
    response_model=SweepDetail,
    responses={200: {"model": SweepPlanView}},
    summary="Submit a sweep, or plan one",
)
def submit(body: SweepRequest, posted: Posted, plan_only: PlanOnly = False) -> Any:
    """A run for every combination of the grid, or for every one listed; 256 at most. All are checked before any is
    made, and a refusal names the combination. With `evaluate`, each run is evaluated when it is completed.
    """

    def show_plan(session: Session) -> SweepPlanView:
        return shown_plan(session, _planned(session, body, posted.who))

    def make(session: Session) -> Created:
        sweep = sweeps.create_sweep(session, _planned(session, body, posted.who))
        posted.note(session, "sweep.submit", sweep.id)
        return Created(f"/v1/sweeps/{sweep.id}", shown_sweep(session, sweep))

    return submit_or_plan(posted, body, make, show_plan, plan_only=plan_only)


@router.get("", summary="List sweeps, newest first")
def list_all(
    _: Reader, services: Shared, page: WantedPage, group: Annotated[str | None, Query(max_length=200)] = None
) -> Page[SweepView]:
    """How each stands; its runs are shown with it alone."""
    with services.look() as session:
        found = sweeps.list_sweeps(session, group, page)
        return Page(items=shown_sweeps(session, found.items), next_page_token=found.next_page_token)


@router.get("/{sweep}", summary="Show a sweep")
def show(sweep: JobId, _: Reader, services: Shared) -> SweepDetail:
    """Every run with what it varies, its state, newest metrics, scores and rank; and the scores by each varied key."""
    with services.look() as session:
        return shown_sweep(session, sweeps.get_sweep(session, sweep))


@router.post("/{sweep}/cancel", summary="Cancel a sweep")
def cancel(sweep: JobId, who: Submitter, services: Shared, request: Request, tasks: BackgroundTasks) -> SweepDetail:
    """Cancel all of its runs and evaluations that have not ended; asking again changes nothing."""
    with services.work() as session:
        cancelled = sweeps.cancel_sweep(session, sweep, who.name)
        audit.note(session, who.name, "sweep.cancel", sweep, request_id=request_id(request.scope))
        view = shown_sweep(session, sweeps.get_sweep(session, sweep))
    tasks.add_task(_send_words, services, cancelled)
    return view


def _send_words(services: Services, run_ids: list[str]) -> None:
    for run_id in run_ids:
        send_word(services, run_id)


def _planned(session: Session, body: SweepRequest, who: Principal) -> SweepPlan:
    wanted = body.evaluate
    asked = NewSweep(
        dataset=body.dataset,
        preset=body.preset,
        overrides=body.overrides,
        grid=body.grid,
        combinations=body.combinations,
        init=None if body.init is None else body.init.model_dump(exclude_none=True),
        evaluate=None if wanted is None else SweepEvaluation(**wanted.model_dump()),
        layout=Layout(body.gpus, body.nodes),
        max_parallel=body.max_parallel,
        terms=training_terms(body, who),
    )
    try:
        return plan_sweep(session, asked)
    except InvalidDocument as error:
        raise from_document(error) from error
