"""Deliveries of webhooks: which are due, what came of a try, when one is given up and a webhook disabled."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from control.db.models import Delivery, Webhook
from control.db.session import database_time
from control.errors import NotFound
from control.records.access import audit
from control.records.paging import Listing, Page, paginate

TRIES = 16
"""After that many failures a delivery is given up: about eleven hours after its event."""
_FIRST_PAUSE, _LONGEST_PAUSE = timedelta(seconds=5), timedelta(hours=2)
DISABLE_AFTER = timedelta(days=3)
"""A webhook that has taken nothing for so long is disabled."""
KEEP = timedelta(days=30)
_KEPT_ATTEMPTS = 20
_SERVICE = "detco"


@dataclass(frozen=True, slots=True)
class Receipt:
    """What came of one try."""

    ok: bool
    milliseconds: int
    status: int | None = None
    """HTTP status of the answer; None where there was none."""
    error: str | None = None
    answer: str | None = None
    """The beginning of its body."""

    @property
    def gone(self) -> bool:
        """The receiver says for good that it is not there any more."""
        return self.status == 410


def due(session: Session, busy: Collection[str] = (), limit: int = 200) -> list[tuple[Delivery, Webhook]]:
    """What is to be sent now to enabled webhooks, oldest first, without those of `busy` webhooks."""
    query = (
        select(Delivery, Webhook)
        .join(Webhook, Webhook.id == Delivery.webhook_id)
        .where(Delivery.state == "pending", Delivery.due_at <= database_time(session), Webhook.enabled)
        .order_by(Delivery.due_at, Delivery.id)
        .limit(limit)
    )
    if busy:
        query = query.where(Webhook.id.not_in(busy))
    return [(delivery, webhook) for delivery, webhook in session.execute(query).all()]


def settle(session: Session, delivery_id: str, receipt: Receipt) -> None:
    """Remember a try: delivered, to be tried again, or given up. Of a delivery that is gone nothing is remembered."""
    known = session.get(Delivery, delivery_id)
    if known is None:
        return
    # First the webhook, then the delivery: whoever deletes a webhook takes the rows in this order too.
    webhook = session.get_one(Webhook, known.webhook_id, with_for_update=True)
    delivery = session.get(Delivery, delivery_id, with_for_update=True, populate_existing=True)
    if delivery is None or delivery.state != "pending":
        return
    now = database_time(session)
    delivery.tries += 1
    delivery.attempts = [*delivery.attempts, _attempt(receipt, now)][-_KEPT_ATTEMPTS:]
    if receipt.ok:
        delivery.state, delivery.delivered_at = "delivered", now
        webhook.delivered_at, webhook.failing_since = now, None
    else:
        _fail(session, webhook, delivery, receipt, now)
    session.flush()


def list_deliveries(
    session: Session, webhook_id: str, state: str | None = None, page: Page | None = None
) -> Listing[Delivery]:
    """Deliveries of a webhook, newest first."""
    query = select(Delivery).where(Delivery.webhook_id == webhook_id)
    if state is not None:
        query = query.where(Delivery.state == state)
    return paginate(session, query, Delivery.id, page or Page())


def get_delivery(session: Session, webhook_id: str, delivery_id: str) -> Delivery:
    """The delivery; raises `NotFound`."""
    delivery = session.get(Delivery, delivery_id)
    if delivery is None or delivery.webhook_id != webhook_id:
        raise NotFound("delivery", delivery_id)
    return delivery


def redeliver(session: Session, webhook_id: str, delivery_id: str) -> Delivery:
    """Send a delivery again, now, under the same event id, with all its tries before it. Raises `NotFound`."""
    session.get(Webhook, webhook_id, with_for_update=True)
    delivery = get_delivery(session, webhook_id, delivery_id)
    delivery.state, delivery.tries, delivery.due_at = "pending", 0, database_time(session)
    session.flush()
    return delivery


def forget_old(session: Session) -> None:
    """Drop deliveries older than `KEEP`, whatever became of them."""
    session.execute(delete(Delivery).where(Delivery.created_at < database_time(session) - KEEP))


def pause_after(tries: int) -> timedelta:
    """How long to wait after so many failures in a row: 5 s, doubled each time, two hours at most."""
    return min(_FIRST_PAUSE * (1 << min(tries - 1, 20)), _LONGEST_PAUSE)


def _fail(session: Session, webhook: Webhook, delivery: Delivery, receipt: Receipt, now: datetime) -> None:
    webhook.failing_since = webhook.failing_since or now
    if delivery.tries >= TRIES:
        delivery.state = "failed"
    else:
        delivery.due_at = now + pause_after(delivery.tries)
    if receipt.gone:
        _disable(session, webhook, "it answered 410: it is gone")
    elif now - webhook.failing_since >= DISABLE_AFTER:
        _disable(session, webhook, f"it has taken nothing since {webhook.failing_since.isoformat(timespec='seconds')}")


def _disable(session: Session, webhook: Webhook, reason: str) -> None:
    if webhook.enabled:
        webhook.enabled, webhook.disabled_reason = False, reason
        audit.note(session, _SERVICE, "webhook.disable", webhook.id, {"reason": reason})


def _attempt(receipt: Receipt, now: datetime) -> dict[str, Any]:
    return {
        "time": now.isoformat(),
        "status": receipt.status,
        "error": receipt.error,
        "milliseconds": receipt.milliseconds,
        "answer": receipt.answer,
    }
