"""Forks of runs: warm starts, and extensions with everything carried on."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from sqlalchemy.orm import Session

from control.records.planning.forks import NewFork, plan_fork
from control.records.planning.plans import Plan
from control.records.runs.runs import get_run
from server.http.creation import IdempotencyKey
from server.http.deps import JobId, Shared, Submitter
from server.http.schemas.runs import ForkRequest, PlanView, RunView
from server.http.submission import answer_plan, submit_run

router = APIRouter(prefix="/runs/{job}", tags=["runs"])


@router.post(
    "/fork",
    status_code=202,
    response_model=RunView,
    responses={200: {"model": PlanView}},
    summary="Go on from a checkpoint as a new run",
)
def fork(
    job: JobId,
    body: ForkRequest,
    who: Submitter,
    services: Shared,
    request: Request,
    key: IdempotencyKey = None,
    dry_run: Annotated[bool, Query(description="Answer 200 with the plan; submit nothing.")] = False,
) -> Any:
    """`carry: weights` starts a new run from the checkpoint's encoder. `carry: all` goes on bit for bit with optimizer,
    queues and random state, so that a completed run can be given more epochs: its learning-rate schedule is then laid
    over the new length, so the rate rises again.
    """

    def planned(session: Session) -> Plan:
        asked = NewFork(
            checkpoint=body.checkpoint,
            carry=body.carry,
            overrides=body.overrides,
            dataset=body.dataset,
            gpus=body.gpus,
            nodes=body.nodes,
            allow_world_size_change=body.allow_world_size_change,
        )
        return plan_fork(session, get_run(session, job, ("pretrain",)), asked)

    if dry_run:
        return answer_plan(services, planned)
    return submit_run(services, who, request, body, key, planned, "run.fork")
