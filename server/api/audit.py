"""Who did what to what."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import AwareDatetime

from control.records.access import audit
from server.http.deps import Admin, Shared, WantedPage
from server.http.schemas.base import Page
from server.http.schemas.service import AuditView, audit_view

router = APIRouter(prefix="/audit", tags=["audit"])


@router.get("", summary="List what was done, newest first")
def list_all(
    _: Admin,
    services: Shared,
    page: WantedPage,
    actor: Annotated[str | None, Query(max_length=255, description="A token's name.")] = None,
    action: Annotated[str | None, Query(max_length=64, description="`token.revoke`, or `token.*`.")] = None,
    target: Annotated[str | None, Query(max_length=255, description="An id, or a reference as `model@alias`.")] = None,
    request_id: Annotated[str | None, Query(max_length=128, description="The id of a request.")] = None,
    since: Annotated[AwareDatetime | None, Query(description="Not before this time.")] = None,
    until: Annotated[AwareDatetime | None, Query(description="Before this time.")] = None,
) -> Page[AuditView]:
    """Every act that changes something, with the token's name and the request's id; kept `DETCO_AUDIT_DAYS`."""
    wanted = audit.Wanted(actor, action, target, request_id, since, until)
    with services.look() as session:
        found = audit.list_entries(session, wanted, page)
        return Page(items=[audit_view(row) for row in found.items], next_page_token=found.next_page_token)
