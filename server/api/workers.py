"""Workers, the slots of their hosts, and taking a worker out of service."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from sqlalchemy.orm import Session

from control.db.models import Worker
from control.db.session import database_time
from control.records.access import audit
from control.records.scheduling import drains
from control.records.scheduling.workers import get_worker, list_slots, page_workers
from server.http.deps import Admin, Named, Reader, Shared, WantedPage
from server.http.problems import request_id
from server.http.schemas.base import Page
from server.http.schemas.workers import DrainRequest, WorkerView, worker_view

router = APIRouter(prefix="/workers", tags=["workers"])

_GENTLY = DrainRequest()


@router.get("", summary="List workers, newest first")
def list_all(
    _: Reader,
    services: Shared,
    page: WantedPage,
    all_: Annotated[bool, Query(alias="all", description="Those that are gone, too.")] = False,
) -> Page[WorkerView]:
    """Those heard of lately, with what their hosts can be given and who has it."""
    with services.look() as session:
        found = page_workers(session, page, alive_only=not all_)
        return Page(items=[_shown(session, row) for row in found.items], next_page_token=found.next_page_token)


@router.get("/{worker}", summary="Show a worker")
def show(worker: Named, _: Reader, services: Shared) -> WorkerView:
    """Also one that is gone."""
    with services.look() as session:
        return _shown(session, get_worker(session, worker))


@router.post("/{worker}/drain", summary="Drain a worker")
def drain(worker: Named, who: Admin, services: Shared, request: Request, body: DrainRequest = _GENTLY) -> WorkerView:
    """It claims nothing new; with `preempt` its runs save and are queued again, for other workers.

    Once it holds nothing it can be stopped. Asking again changes nothing; 409 when it has ended.
    """
    with services.work() as session:
        row = drains.drain(session, worker, preempt=body.preempt, actor=who.name)
        audit.note(session, who.name, "worker.drain", row.id, {"preempt": body.preempt}, request_id(request.scope))
        return _shown(session, row)


@router.post("/{worker}/undrain", summary="Let a drained worker claim again")
def undrain(worker: Named, who: Admin, services: Shared, request: Request) -> WorkerView:
    """Runs that were asked to leave still do. 409 when it has ended."""
    with services.work() as session:
        row = drains.undrain(session, worker)
        audit.note(session, who.name, "worker.undrain", row.id, request_id=request_id(request.scope))
        return _shown(session, row)


def _shown(session: Session, row: Worker) -> WorkerView:
    return worker_view(row, list_slots(session, row.host), database_time(session))
