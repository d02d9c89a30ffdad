"""Tables of webhooks: who is told what, and every delivery that is owed or was made."""

from datetime import UTC, datetime
from functools import partial
from typing import Any

from sqlalchemy import Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from control.db.base import Base, Made
from control.db.ids import new_id


class Webhook(Made, Base):
    """An address that is told of events. Its secret is in no table: it is derived from the service's signing key."""

    __tablename__ = "webhooks"

    id: Mapped[str] = mapped_column(primary_key=True, default=partial(new_id, "whk"))
    url: Mapped[str]
    description: Mapped[str | None]
    events: Mapped[list[str]]
    """Patterns: `run.completed`, `run.*`, `*`."""
    enabled: Mapped[bool] = mapped_column(default=True)
    disabled_reason: Mapped[str | None]
    """Why the service disabled it; None where a person did."""
    generation: Mapped[int] = mapped_column(default=1)
    """Counts secrets."""
    rotated_at: Mapped[datetime | None]
    secret_check: Mapped[str]
    """Of the secret of this generation: shows a process that has another signing key."""
    failing_since: Mapped[datetime | None]
    """Of the first delivery that failed with no success since."""
    delivered_at: Mapped[datetime | None]
    """Last success."""


class Delivery(Base):
    """One event for one webhook, written with what it tells of; sent until it is taken, or given up."""

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        UniqueConstraint("webhook_id", "event_id"),
        Index("ix_webhook_deliveries_state_due_at", "state", "due_at"),
        Index("ix_webhook_deliveries_webhook_id_id", "webhook_id", "id"),
    )

    id: Mapped[str] = mapped_column(primary_key=True, default=partial(new_id, "dlv"))
    webhook_id: Mapped[str]
    """No foreign key: deleting a webhook must never make the end of a run fail."""
    event_id: Mapped[str]
    """The same for every webhook that is told, and for every try."""
    type: Mapped[str]
    payload: Mapped[dict[str, Any]]
    state: Mapped[str] = mapped_column(default="pending")
    """`pending`, `delivered` or `failed`."""
    tries: Mapped[int] = mapped_column(default=0)
    """Since it was asked for, the first time or again."""
    due_at: Mapped[datetime]
    created_at: Mapped[datetime] = mapped_column(default=lambda: datetime.now(UTC), index=True)
    delivered_at: Mapped[datetime | None]
    attempts: Mapped[list[dict[str, Any]]]
    """The newest tries, oldest first: time, status, error, milliseconds, the beginning of the answer."""
