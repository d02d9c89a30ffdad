"""Deleting runs, evaluations, extractions, sweeps, models and their versions, and aliases.

Each takes `dry_run=true`; each may be repeated, and gives the same answer; each is refused, with names, while something
needs the thing.
"""

from fastapi import APIRouter, Request

from control.records.access import audit
from control.records.models import aliases
from control.records.models.deleting_models import delete_model, delete_version
from control.records.runs.deleting import delete_run
from control.records.sweeps.deleting_sweeps import delete_sweep
from server.http.answers.etags import IfMatch, expected_version
from server.http.changes.deletion import DryRun, note_deletion
from server.http.deps import JobId, Named, Number, Shared, Submitter
from server.http.problems import request_id
from server.http.schemas.keeping import RemovalView, removal_view

router = APIRouter()


@router.delete("/runs/{job}", tags=["runs"], summary="Delete a run")
def run(job: JobId, who: Submitter, services: Shared, request: Request, dry_run: DryRun = False) -> RemovalView:
    """With its checkpoints, files, events and metrics; it must have ended. 409 with `holders`: pinned checkpoints, and
    jobs that have not ended and need one or are to come after it. Model versions and forks made from it stay.
    """
    with services.work() as session:
        removed = delete_run(session, job, "pretrain", who.name, dry_run=dry_run)
        note_deletion(session, who, request, "run.delete", removed, dry_run=dry_run)
    return removal_view(removed, dry_run=dry_run)


@router.delete("/evaluations/{job}", tags=["evaluations"], summary="Delete an evaluation")
def evaluation(job: JobId, who: Submitter, services: Shared, request: Request, dry_run: DryRun = False) -> RemovalView:
    """With its report, files and events; it must have ended. What it looked at is not held by it any more."""
    with services.work() as session:
        removed = delete_run(session, job, "evaluate", who.name, dry_run=dry_run)
        note_deletion(session, who, request, "evaluation.delete", removed, dry_run=dry_run)
    return removal_view(removed, dry_run=dry_run)


@router.delete("/sweeps/{sweep}", tags=["sweeps"], summary="Delete a sweep with all of its runs and evaluations")
def sweep(sweep: JobId, who: Submitter, services: Shared, request: Request, dry_run: DryRun = False) -> RemovalView:
    """409 with `holders`: those of its runs and evaluations that have not ended, and what holds one of them. What else
    was made from its runs stays.
    """
    with services.work() as session:
        removed = delete_sweep(session, sweep, who.name, dry_run=dry_run)
        note_deletion(session, who, request, "sweep.delete", removed, dry_run=dry_run)
    return removal_view(removed, dry_run=dry_run)


@router.delete("/extractions/{job}", tags=["extractions"], summary="Delete an extraction")
def extraction(job: JobId, who: Submitter, services: Shared, request: Request, dry_run: DryRun = False) -> RemovalView:
    """With its shards, report and events; it must have ended."""
    with services.work() as session:
        removed = delete_run(session, job, "extract", who.name, dry_run=dry_run)
        note_deletion(session, who, request, "extraction.delete", removed, dry_run=dry_run)
    return removal_view(removed, dry_run=dry_run)


@router.delete("/models/{name}", tags=["models"], summary="Delete a model with all of its versions")
def model(name: Named, who: Submitter, services: Shared, request: Request, dry_run: DryRun = False) -> RemovalView:
    """409 with `holders`: aliases, pins, and jobs that have not ended and need a version. Should the name be used
    again, numbers go on from the last: none is given twice.
    """
    who.require_model(name)
    with services.work() as session:
        removed = delete_model(session, name, who.name, dry_run=dry_run)
        note_deletion(session, who, request, "model.delete", removed, dry_run=dry_run)
    return removal_view(removed, dry_run=dry_run)


@router.delete("/models/{name}/versions/{number}", tags=["models"], summary="Delete a version of a model")
def version(
    name: Named, number: Number, who: Submitter, services: Shared, request: Request, dry_run: DryRun = False
) -> RemovalView:
    """With its files. 409 with `holders`: aliases that name it, pins, and jobs that have not ended and need it."""
    who.require_model(name)
    with services.work() as session:
        removed = delete_version(session, name, number, who.name, dry_run=dry_run)
        note_deletion(session, who, request, "model.delete", removed, dry_run=dry_run)
    return removal_view(removed, dry_run=dry_run)


@router.delete("/models/{name}/aliases/{alias}", tags=["models"], status_code=204, summary="Take an alias away")
def alias(
    name: Named, alias: Named, who: Submitter, services: Shared, request: Request, if_match: IfMatch = None
) -> None:
    """Requests that name it are refused from then on; its history stays, and it may be set again."""
    who.require_model(name)
    with services.work() as session:
        aliases.remove_alias(session, name, alias, who.name, expected_version(if_match))
        target = f"{name}@{alias}"
        audit.note(session, who.name, "alias.delete", target, request_id=request_id(request.scope))
    if services.features is not None:
        services.features.models.refresh()
