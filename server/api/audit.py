"""Who did what to what."""

from typing import Annotated

from fastapi import APIRouter, Query

from control.records import audit
from server.http.deps import Admin, Shared, WantedPage
from server.http.schemas.base import Page
from server.http.schemas.service import AuditView, audit_view

router = APIRouter(prefix="/audit", tags=["audit"])


@router.get("", summary="List what was done, newest first")
def list_all(
    _: Admin,
    services: Shared,
    page: WantedPage,
    target: Annotated[str | None, Query(max_length=255, description="An id, or a reference as `model@alias`.")] = None,
) -> Page[AuditView]:
    """Every act that changes something, with the token's name and the request's id."""
    with services.look() as session:
        found = audit.list_entries(session, target, page)
        return Page(items=[audit_view(row) for row in found.items], next_page_token=found.next_page_token)
