"""Webhooks: who is told of which events, and what became of each message."""

from typing import Annotated
from urllib.parse import urlsplit

from fastapi import APIRouter, Query, Request, Response

from control.outbound import check_url
from control.records.access import audit
from control.records.webhooks import deliveries, notices, webhooks
from control.signing import signing_key
from server.http.deps import Admin, Named, Shared, WantedPage
from server.http.problems import request_id
from server.http.schemas.base import Page
from server.http.schemas.webhooks import (
    DeliveryState,
    DeliveryView,
    NewWebhookView,
    WebhookChange,
    WebhookRequest,
    WebhookView,
    delivery_view,
    new_webhook_view,
    webhook_view,
)

router = APIRouter(prefix="/webhooks", tags=["webhooks"])


@router.post("", status_code=201, summary="Have an address told of events")
def make(body: WebhookRequest, who: Admin, services: Shared, request: Request, response: Response) -> NewWebhookView:
    """The secret that messages are signed with is in this answer and nowhere else."""
    check_url(body.url, services.settings.webhook_networks)
    key = signing_key(services.settings)
    with services.work() as session:
        made = webhooks.create_webhook(session, key, body.url, body.events, who.name, body.description)
        # The host alone: the rest of an address may be a secret between the two ends.
        details = {"host": urlsplit(body.url).hostname, "events": list(body.events)}
        audit.note(session, who.name, "webhook.create", made.webhook.id, details, request_id(request.scope))
    response.headers["Location"] = f"/v1/webhooks/{made.webhook.id}"
    response.headers["Cache-Control"] = "no-store"
    return new_webhook_view(made)


@router.get("", summary="List webhooks, newest first")
def list_all(_: Admin, services: Shared, page: WantedPage) -> Page[WebhookView]:
    """Never with a secret."""
    with services.look() as session:
        found = webhooks.list_webhooks(session, page)
        return Page(items=[webhook_view(row) for row in found.items], next_page_token=found.next_page_token)


@router.get("/{webhook}", summary="Show a webhook")
def show(webhook: Named, _: Admin, services: Shared) -> WebhookView:
    """Whether it is enabled, since when it fails, when it last took a message."""
    with services.look() as session:
        return webhook_view(webhooks.get_webhook(session, webhook))


@router.patch("/{webhook}", summary="Change, disable or enable a webhook")
def change(webhook: Named, body: WebhookChange, who: Admin, services: Shared, request: Request) -> WebhookView:
    """While it is disabled nothing new is kept for it; what waits already goes out when it is enabled again."""
    if body.url is not None:
        check_url(body.url, services.settings.webhook_networks)
    asked = body.model_dump(exclude_none=True)
    with services.work() as session:
        row = webhooks.change_webhook(session, webhook, **asked)
        details = {"changed": sorted(asked)}
        audit.note(session, who.name, "webhook.change", row.id, details, request_id(request.scope))
        return webhook_view(row)


@router.delete("/{webhook}", status_code=204, summary="Delete a webhook")
def delete(webhook: Named, who: Admin, services: Shared, request: Request) -> None:
    """With the log of its deliveries."""
    with services.work() as session:
        row = webhooks.delete_webhook(session, webhook)
        details = {"host": urlsplit(row.url).hostname}
        audit.note(session, who.name, "webhook.delete", row.id, details, request_id(request.scope))


@router.post("/{webhook}/rotate", summary="Make a new secret for a webhook")
def rotate(webhook: Named, who: Admin, services: Shared, request: Request, response: Response) -> NewWebhookView:
    """For 24 h messages carry the signatures of both, so that the receiver can change over in its own time."""
    key = signing_key(services.settings)
    with services.work() as session:
        made = webhooks.rotate_secret(session, key, webhook)
        audit.note(session, who.name, "webhook.rotate", webhook, request_id=request_id(request.scope))
    response.headers["Cache-Control"] = "no-store"
    return new_webhook_view(made)


@router.post("/{webhook}/test", status_code=202, summary="Send a webhook a test message")
def test(webhook: Named, who: Admin, services: Shared, request: Request, response: Response) -> DeliveryView:
    """`Location` is where its delivery can be followed; a disabled webhook gets it once it is enabled."""
    with services.work() as session:
        owed = notices.owe_test(session, webhooks.get_webhook(session, webhook), who.name)
        audit.note(session, who.name, "webhook.test", webhook, request_id=request_id(request.scope))
        response.headers["Location"] = f"/v1/webhooks/{webhook}/deliveries/{owed.id}"
        return delivery_view(owed)


@router.get("/{webhook}/deliveries", summary="What a webhook was told, newest first")
def log(
    webhook: Named,
    _: Admin,
    services: Shared,
    page: WantedPage,
    state: Annotated[DeliveryState | None, Query(description="Only these.")] = None,
) -> Page[DeliveryView]:
    """Every message with its tries: kept for 30 days."""
    with services.look() as session:
        webhooks.get_webhook(session, webhook)
        found = deliveries.list_deliveries(session, webhook, state, page)
        return Page(items=[delivery_view(row) for row in found.items], next_page_token=found.next_page_token)


@router.get("/{webhook}/deliveries/{delivery}", summary="Show a delivery")
def delivery(webhook: Named, delivery: Named, _: Admin, services: Shared) -> DeliveryView:
    """With the body that was sent, and what came back."""
    with services.look() as session:
        return delivery_view(deliveries.get_delivery(session, webhook, delivery))


@router.post("/{webhook}/deliveries/{delivery}/redeliver", status_code=202, summary="Send a message again")
def redeliver(webhook: Named, delivery: Named, who: Admin, services: Shared, request: Request) -> DeliveryView:
    """Under the same event id, at once, with all its tries before it."""
    with services.work() as session:
        row = deliveries.redeliver(session, webhook, delivery)
        details = {"delivery": row.id}
        audit.note(session, who.name, "webhook.redeliver", webhook, details, request_id(request.scope))
        return delivery_view(row)
