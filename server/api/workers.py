"""Workers and the slots of their hosts."""

from typing import Annotated

from fastapi import APIRouter, Query

from control.records.workers import list_slots, list_workers
from server.http.deps import Reader, Shared
from server.http.schemas.base import Page
from server.http.schemas.service import WorkerView, worker_view

router = APIRouter(prefix="/workers", tags=["workers"])


@router.get("", summary="List workers, newest first")
def list_all(
    _: Reader,
    services: Shared,
    all_: Annotated[bool, Query(alias="all", description="Those that are gone, too.")] = False,
) -> Page[WorkerView]:
    """Those heard of lately, with what their hosts can be given and which job has it."""
    with services.look() as session:
        slots = list_slots(session)
        rows = list_workers(session, alive_only=not all_)
        return Page(items=[worker_view(row, [slot for slot in slots if slot.host == row.host]) for row in rows])
