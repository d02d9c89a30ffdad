"""Quotas of tokens."""

from dataclasses import asdict
from typing import Annotated

from pydantic import Field

from control.records.access.quotas import Quota, Usage
from server.http.schemas.base import Body, View

Share = Annotated[int | None, Field(ge=1, lt=2**31)]
Rate = Annotated[int | None, Field(ge=1, lt=2**53)]
Bound = Annotated[int | None, Field(ge=0, lt=2**31)]


class QuotaBody(Body):
    """The most a token may have at once; null: any number, or as a feature server is set."""

    running: Bound = None
    """Jobs that workers hold."""
    slots: Bound = None
    """Training slots these hold."""
    queued: Bound = None
    """Jobs that wait."""
    images: Share = None
    """Under way at once in each feature server."""
    pixels_per_second: Rate = None
    """Of images sent to each feature server."""


class UsageView(View):
    """What a token has now, in the terms of its quota."""

    running: int
    slots: int
    queued: int


class QuotaView(View):
    """What a token may have, and what it has."""

    quota: QuotaBody
    used: UsageView


def quota_view(quota: Quota, used: Usage) -> QuotaView:
    return QuotaView(quota=QuotaBody(**asdict(quota)), used=UsageView(**asdict(used)))
