"""What jobs have taken, added up."""

from dataclasses import asdict
from datetime import datetime

from control.records.paging import Listing
from control.records.runs.usage import Usage, UsageBy, Window
from server.http.schemas.base import Page, View


class UsageView(View):
    """What the jobs of one token, label, group or kind have taken within the time."""

    key: str | None
    """A token's name, `label=value`, a group or a kind; null: jobs of no group."""
    jobs: int
    """That workers held within the time; of all kinds."""
    attempts: int
    gpu_seconds: float
    """GPUs times the seconds they were held, within the time."""
    cpu_seconds: float | None
    """Of processes that have ended, in proportion to the time; null where none was measured."""
    bytes: int
    """What these jobs have in the store now."""


class UsagePage(Page[UsageView]):
    """A piece of a table of usage, by key."""

    by: UsageBy
    since: datetime | None
    until: datetime


def usage_page(found: Listing[Usage], by: UsageBy, within: Window) -> UsagePage:
    items = [UsageView.model_validate(asdict(row)) for row in found.items]
    return UsagePage(items=items, next_page_token=found.next_page_token, by=by, since=within.since, until=within.until)
