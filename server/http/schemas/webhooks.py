"""Webhooks: what is posted and shown, and the log of their deliveries."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from control.db.models import Delivery, Webhook
from control.records.webhooks.webhooks import NewSecret
from server.http.schemas.base import Body, Json, Resource, Text, View

Url = Annotated[str, StringConstraints(min_length=1, max_length=2000)]
Pattern = Annotated[str, StringConstraints(min_length=1, max_length=64)]
Patterns = Annotated[tuple[Pattern, ...], Field(min_length=1, max_length=50)]
DeliveryState = Literal["pending", "delivered", "failed"]


class WebhookRequest(Body):
    """An address to be told of events."""

    url: Url
    """http or https; a public address, or one in a network that `DETCO_WEBHOOK_NETWORKS` names."""
    events: Patterns
    """Types, as `run.completed`, all of a noun's, as `run.*`, or `*`."""
    description: Text | None = None


class WebhookChange(Body):
    """What is to be different; what is left out stays."""

    url: Url | None = None
    events: Patterns | None = None
    description: Text | None = None
    enabled: bool | None = None


class WebhookView(Resource):
    """A webhook without its secret."""

    url: str
    events: list[str]
    description: str | None
    enabled: bool
    disabled_reason: str | None
    """Why the service disabled it; null where a person did."""
    failing_since: datetime | None
    delivered_at: datetime | None
    """Last success."""
    rotated_at: datetime | None


class NewWebhookView(WebhookView):
    """A webhook just made, or its secret made anew: `secret` is shown this once."""

    secret: str


class DeliveryAttempt(View):
    """One try."""

    time: datetime
    status: int | None
    """Of the answer; null where there was none."""
    error: str | None
    milliseconds: int
    answer: str | None
    """The beginning of its body."""


class DeliveryView(View):
    """One event for one webhook."""

    id: str
    webhook: str
    event: str
    """Its id: the header `webhook-id`, the same for every try."""
    type: str
    state: DeliveryState
    tries: int
    """Since it was asked for, the first time or again."""
    created_at: datetime
    due_at: datetime | None
    """Of the next try; null when there is none to come."""
    delivered_at: datetime | None
    attempts: list[DeliveryAttempt]
    """The newest tries, oldest first."""
    payload: Json
    """The body that is sent."""


def webhook_view(row: Webhook) -> WebhookView:
    return WebhookView.model_validate(row, from_attributes=True)


def new_webhook_view(made: NewSecret) -> NewWebhookView:
    return NewWebhookView(**webhook_view(made.webhook).model_dump(), secret=made.secret)


def delivery_view(row: Delivery) -> DeliveryView:
    same = ("id", "type", "state", "tries", "created_at", "delivered_at", "attempts", "payload")
    return DeliveryView.model_validate(
        {field: getattr(row, field) for field in same}
        | {"webhook": row.webhook_id, "event": row.event_id}
        | {"due_at": row.due_at if row.state == "pending" else None}
    )
