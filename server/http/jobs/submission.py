"""Answers a POST that asks for a job: with its plan when that is all that is wanted, or with the job it has become."""

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import Query, Response
from pydantic import BaseModel
from sqlalchemy.orm import Session

from control.records.access.principals import Principal
from control.records.planning.plans import Plan
from control.records.runs.submission import NewRun, create_run
from detco_core.contract.errors import InvalidDocument
from detco_core.contract.reader import digest
from server.http.changes.creation import Created, Make, Posting, create
from server.http.errors.translations import from_document
from server.http.schemas.jobs import JobRequest
from server.http.schemas.runs import ForkRequest, RunRequest
from server.http.schemas.sweeps import SweepRequest
from server.http.views import shown_plan, shown_run

MakePlan = Callable[[Session], Plan]
PlanOnly = Annotated[bool, Query(alias="dry_run", description="Answer 200 with the plan; submit nothing.")]


def submit_or_plan(
    posted: Posting, body: BaseModel, make: Make, show_plan: Callable[[Session], BaseModel], *, plan_only: bool
) -> Response:
    """202 with what was submitted; or 200 with the plan, and nothing is."""
    if not plan_only:
        return create(posted, body, make)
    with posted.services.look() as session:
        view = show_plan(session)
    return Response(view.model_dump_json(), media_type="application/json")


def submit_run(
    posted: Posting, body: RunRequest | ForkRequest, planned: MakePlan, action: str, *, plan_only: bool
) -> Response:
    """The same for a pretraining run, new or forked; `action` is what the audit calls it."""

    def show_plan(session: Session) -> BaseModel:
        return shown_plan(session, _checked(session, planned))

    def make(session: Session) -> Created:
        run = create_run(session, _new_run(_checked(session, planned), body, posted.who))
        posted.note(session, action, run.id, {"from": run.forked_from} if run.forked_from else {})
        return Created(f"/v1/runs/{run.id}", shown_run(session, run))

    return submit_or_plan(posted, body, make, show_plan, plan_only=plan_only)


def _checked(session: Session, planned: MakePlan) -> Plan:
    try:
        return planned(session)
    except InvalidDocument as error:
        under = () if error.what == "preset" else ("overrides",)
        raise from_document(error, under, whole_keys=True) from error


def _new_run(planned: Plan, body: RunRequest | ForkRequest, who: Principal) -> NewRun:
    return NewRun(
        kind="pretrain",
        spec=planned.spec,
        dataset_version_id=planned.dataset.id,
        config_digest=digest(planned.config),
        gpus=planned.layout.gpus,
        nodes=planned.layout.nodes,
        forked_from=planned.start.forked_from,
        **training_terms(body, who, planned.start.after),
    )


def training_terms(
    body: RunRequest | ForkRequest | SweepRequest, who: Principal, after: tuple[str, ...] = ()
) -> dict[str, Any]:
    """The fields of a `NewRun` that any training run is submitted with."""
    keep = body.keep.model_dump(exclude_none=True) if body.keep else None
    return terms(body, who, after) | {"preemptible": body.preemptible, "preempt": body.preempt, "keep": keep}


def terms(body: JobRequest, who: Principal, after: tuple[str, ...] = ()) -> dict[str, Any]:
    """The fields of a `NewRun` that any job is submitted with; `after` is what it needs by itself."""
    same = ("name", "labels", "group", "priority", "max_attempts", "max_seconds", "idle_seconds", "grace_seconds")
    given = {field: getattr(body, field) for field in same}
    return given | {"actor": who.name, "token_id": who.token_id, "after": (*body.after, *after)}
