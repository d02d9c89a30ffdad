"""What the routes of every kind of job share: which job a path means, how it is shown, and steering it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fastapi import Request
from pydantic import BaseModel
from sqlalchemy.orm import Session

from control import jobs
from control.bus import run_topic
from control.db.models import ModelVersion, Run
from control.errors import IllegalMove, StaleVersion
from control.records.access import audit
from control.records.access.principals import Principal
from control.records.life import steering
from control.records.life.steering import Resumption
from control.records.runs.runs import get_run
from control.states import ACTIONS, Action
from server.http.deps import Services
from server.http.problems import request_id
from server.http.schemas.jobs import actions_of


@dataclass(frozen=True, slots=True)
class JobKind:
    """A kind of job as the interface has it."""

    path: str
    """Of one job, e.g. `/runs/{job}`."""
    noun: str
    """In summaries and tags: `run`."""
    find: Callable[..., str]
    """A dependency that gives the job's id from the path; raises `NotFound`."""
    show: Callable[[Session, Run], BaseModel]
    view: Any
    """What `show` gives, for the OpenAPI document."""
    actions: tuple[Action, ...] = ACTIONS
    """That have a route."""


def steer(
    services: Services,
    who: Principal,
    request: Request,
    run_id: str,
    action: Action,
    kind: JobKind,
    expected: int | None = None,
    how: Resumption | None = None,
) -> BaseModel:
    """Ask something of a job and show what became of it; `expected` is the version the caller saw.

    Raises:
        IllegalMove: naming what is lawful.
        StaleVersion: the job has moved on since.
    """
    with services.work() as session:
        run = get_run(session, run_id)
        if expected is not None and run.version != expected:
            raise StaleVersion(f"{kind.noun} {run.id}", expected, run.version)
        run = ask(session, who, request, run, action, kind.noun, how)
        return kind.show(session, run)


def ask(
    session: Session,
    who: Principal,
    request: Request,
    run: Run,
    action: Action,
    noun: str,
    how: Resumption | None = None,
) -> Run:
    """Ask something of a job, and note that in the audit; raises as `steering.steer`."""
    if action == "finish" and run.kind != "pretrain":
        raise IllegalMove(action, run.state, actions_of(run))
    run = steering.steer(session, run, action, who.name, how)
    audit.note(session, who.name, f"{noun}.{action}", run.id, request_id=request_id(request.scope))
    return run


def require_model_of(session: Session, who: Principal, run_id: str) -> None:
    """Raise `Forbidden` where a job exports, or runs for people, a model that the token is not limited to."""
    run = get_run(session, run_id)
    if run.kind == "extract":
        who.require_model(run.spec["model"].partition(":")[0])
    if run.kind == "export":
        who.require_model(session.get_one(ModelVersion, run.spec["model_version_id"]).model)


def send_word(services: Services, run_id: str) -> None:
    """After a commit: send the wake-ups owed, and nudge whoever watches the job. Losing either costs latency only."""
    jobs.relay(services.engine, services.celery)
    services.bus.publish(run_topic(run_id))
