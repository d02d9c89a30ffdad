"""Usage: what jobs have taken, by token, label, group or kind."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import AwareDatetime

from control.records.runs import usage
from control.records.runs.usage import UsageBy
from server.http.deps import Reader, Shared, WantedPage
from server.http.schemas.usage import UsagePage, usage_page

router = APIRouter(prefix="/usage", tags=["usage"])


@router.get("", summary="GPU time, CPU time and bytes of jobs, added up")
def show(
    _: Reader,
    services: Shared,
    page: WantedPage,
    by: Annotated[UsageBy, Query(description="Whose: `token` is who submitted a job.")] = "token",
    since: Annotated[AwareDatetime | None, Query(description="RFC 3339; from the beginning without it.")] = None,
    until: Annotated[AwareDatetime | None, Query(description="RFC 3339; up to now without it.")] = None,
) -> UsagePage:
    """Of jobs of every kind, for the part of their attempts that lies within the time, those that still go on included.
    A job with several labels counts under each; `bytes` is what the jobs hold in the store now.
    """
    with services.look() as session:
        within = usage.window(session, since, until)
        return usage_page(usage.usage(session, by, within, page), by, within)
