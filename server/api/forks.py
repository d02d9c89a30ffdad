"""Forks of runs: warm starts, and extensions with everything carried on."""

from typing import Any

from fastapi import APIRouter
from sqlalchemy.orm import Session

from control.records.planning.forks import NewFork, plan_fork
from control.records.planning.plans import Plan
from control.records.runs.runs import get_run
from server.http.changes.creation import Posted
from server.http.deps import JobId
from server.http.jobs.submission import PlanOnly, submit_run
from server.http.schemas.runs import ForkRequest, PlanView, RunView

router = APIRouter(prefix="/runs/{job}", tags=["runs"])


@router.post(
    "/fork",
    status_code=202,
    response_model=RunView,
    responses={200: {"model": PlanView}},
    summary="Go on from a checkpoint as a new run",
)
def fork(job: JobId, body: ForkRequest, posted: Posted, plan_only: PlanOnly = False) -> Any:
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

    return submit_run(posted, body, planned, "run.fork", plan_only=plan_only)
