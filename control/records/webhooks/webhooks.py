"""Webhooks: who is told of which events."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from control.db.ids import new_id
from control.db.models import Delivery, Webhook
from control.db.session import database_time
from control.errors import Conflict, NotFound
from control.records.paging import Listing, Page, paginate
from control.records.webhooks.notices import check_patterns
from control.signing import check_of, secret_of

MOST = 50
"""Webhooks there may be: every event looks at all of them."""
OVERLAP = timedelta(hours=24)
"""Messages are signed with the secret before too for this long after a new one was made."""


@dataclass(frozen=True, slots=True)
class NewSecret:
    """A webhook and its secret, which is shown this once."""

    webhook: Webhook
    secret: str


def create_webhook(
    session: Session, key: bytes, url: str, events: Sequence[str], actor: str, description: str | None = None
) -> NewSecret:
    """Make a webhook; `url` was checked, `key` is the service's signing key.

    Raises:
        InvalidRequest: a pattern matches no event there is.
        Conflict: there are as many webhooks as there may be.
    """
    check_patterns(events)
    if session.scalars(select(func.count()).select_from(Webhook)).one() >= MOST:
        raise Conflict(f"there are {MOST} webhooks, the most there may be; delete one first")
    identity = new_id("whk")
    secret = secret_of(key, identity, 1)
    webhook = Webhook(
        id=identity,
        url=url,
        description=description,
        events=sorted(set(events)),
        enabled=True,
        generation=1,
        secret_check=check_of(secret),
        created_by=actor,
    )
    session.add(webhook)
    session.flush()
    return NewSecret(webhook, secret)


def get_webhook(session: Session, webhook_id: str, *, lock: bool = False) -> Webhook:
    """The webhook; raises `NotFound`."""
    webhook = session.get(Webhook, webhook_id, with_for_update=lock)
    if webhook is None:
        raise NotFound("webhook", webhook_id)
    return webhook


def list_webhooks(session: Session, page: Page | None = None) -> Listing[Webhook]:
    """All of them, newest first."""
    return paginate(session, select(Webhook), Webhook.id, page or Page())


def change_webhook(
    session: Session,
    webhook_id: str,
    *,
    url: str | None = None,
    events: Sequence[str] | None = None,
    description: str | None = None,
    enabled: bool | None = None,
) -> Webhook:
    """Change what is given; enabling forgets earlier failures, and what still waits goes out.

    Raises:
        NotFound, InvalidRequest: as `get_webhook` and `create_webhook`.
    """
    webhook = get_webhook(session, webhook_id, lock=True)
    if events is not None:
        check_patterns(events)
        webhook.events = sorted(set(events))
    webhook.url = url or webhook.url
    webhook.description = webhook.description if description is None else description
    if enabled is not None:
        webhook.enabled, webhook.disabled_reason, webhook.failing_since = enabled, None, None
    session.flush()
    return webhook


def rotate_secret(session: Session, key: bytes, webhook_id: str) -> NewSecret:
    """A new secret; messages carry signatures of both for `OVERLAP`. Raises `NotFound`."""
    webhook = get_webhook(session, webhook_id, lock=True)
    webhook.generation += 1
    webhook.rotated_at = database_time(session)
    secret = secret_of(key, webhook.id, webhook.generation)
    webhook.secret_check = check_of(secret)
    session.flush()
    return NewSecret(webhook, secret)


def delete_webhook(session: Session, webhook_id: str) -> Webhook:
    """Remove a webhook, its deliveries with it; what is on its way still arrives. Raises `NotFound`."""
    webhook = get_webhook(session, webhook_id, lock=True)
    session.execute(delete(Delivery).where(Delivery.webhook_id == webhook.id))
    session.delete(webhook)
    session.flush()
    return webhook
