"""Steering jobs after they were submitted: changing one, resuming one on other GPUs, asking many at once."""

from typing import Annotated, Any

from fastapi import APIRouter, BackgroundTasks, Depends, Query, Request, Response

from control.errors import ControlError
from control.records.access import audit
from control.records.access.principals import Principal
from control.records.life import steering
from control.records.life.steering import Resumption
from control.records.runs.runs import get_run
from control.states import Action
from server.http.answers.etags import IfMatch, etag, expected_version
from server.http.deps import JobId, Services, Shared, Submitter
from server.http.errors.translations import from_control
from server.http.jobs.job_kinds import RUN
from server.http.jobs.jobs import ask, send_word, steer
from server.http.problems import document, request_id
from server.http.schemas.base import ProblemView
from server.http.schemas.jobs import JobView
from server.http.schemas.runs import RunView
from server.http.schemas.steering import (
    MOST_AT_ONCE,
    ActionResult,
    ActionResults,
    ActionsRequest,
    JobPatch,
    ResumeRequest,
)
from server.http.views import shown_any

router = APIRouter(prefix="/runs", tags=["runs"])
_AS_BEFORE = ResumeRequest()


@router.post("/actions", summary="Ask something of many jobs at once")
def act(
    body: ActionsRequest,
    who: Submitter,
    services: Shared,
    request: Request,
    tasks: BackgroundTasks,
    dry_run: Annotated[bool, Query(description="Only list the jobs that would be asked.")] = False,
) -> ActionResults:
    """Each job by itself: one that cannot be moved hinders no other, and the answer has what became of each.

    A group or label means jobs of every kind that have not ended, oldest first; at most 500 at once.
    """
    ids, left = list(dict.fromkeys(body.ids or ())), 0
    if body.ids is None:
        with services.look() as session:
            ids, left = steering.matching(session, body.group, body.label, body.state, MOST_AT_ONCE)
    results = [_one(services, who, request, job, None if dry_run else body.action) for job in ids]
    if not dry_run:
        done = [result.id for result in results if result.ok]
        _note(services, who, request, body, results)
        for job in done:
            tasks.add_task(send_word, services, job)
    return ActionResults(items=results, left=left)


@router.patch("/{job}", summary="Change a run")
def change(
    job: JobId,
    body: JobPatch,
    who: Submitter,
    services: Shared,
    request: Request,
    response: Response,
    tasks: BackgroundTasks,
    if_match: IfMatch = None,
) -> RunView | JobView:
    """Name, labels, group; priority and limits while it has not ended. What is left out stays as it is.

    With `If-Match` only if nothing of it has changed since; a run at work changes with its progress.
    """
    tasks.add_task(send_word, services, job)
    changes = body.model_dump(exclude_unset=True)
    with services.work() as session:
        run = steering.change(session, job, changes, expected_version(if_match))
        audit.note(session, who.name, "run.change", run.id, changes, request_id=request_id(request.scope))
        response.headers["ETag"] = etag(run.version)
        return shown_any(session, run)


@router.post("/{job}/resume", summary="Resume the run", response_model=RunView | JobView)
def resume(
    who: Submitter,
    job: Annotated[str, Depends(RUN.find)],
    services: Shared,
    request: Request,
    tasks: BackgroundTasks,
    body: ResumeRequest = _AS_BEFORE,
    if_match: IfMatch = None,
) -> Any:
    """Queue a paused job again; it goes on from its last checkpoint, on another number of GPUs if you consent to what
    that changes. A pause that is still being carried out is taken back. Asking again changes nothing; an unlawful move
    is 409 and names the lawful ones.
    """
    tasks.add_task(send_word, services, job)
    how = Resumption(**body.model_dump())
    return steer(services, who, request, job, "resume", RUN, expected_version(if_match), how)


def _one(services: Services, who: Principal, request: Request, job: str, action: Action | None) -> ActionResult:
    """Ask one job in a transaction of its own; None: only look at it."""
    try:
        with services.work() if action else services.look() as session:
            run = get_run(session, job)
            if action is not None:
                run = ask(session, who, request, run, action, "run")
            return ActionResult(id=job, ok=True, state=run.state, desired_state=run.desired_state, problem=None)
    except ControlError as error:
        problem = ProblemView(**document(from_control(error), request_id(request.scope)))
        return ActionResult(id=job, ok=False, state=None, desired_state=None, problem=problem)


def _note(
    services: Services, who: Principal, request: Request, body: ActionsRequest, results: list[ActionResult]
) -> None:
    """The act as a whole, also one that found nobody; each job that did as it was asked has an entry of its own."""
    refused = [result.id for result in results if not result.ok]
    details = body.model_dump(mode="json", exclude={"ids"}, exclude_none=True)
    details |= {"done": len(results) - len(refused), "refused": refused}
    with services.work() as session:
        audit.note(session, who.name, "run.actions", "runs", details, request_id(request.scope))
