"""Who may do what, who did it, and what was asked before."""

from datetime import UTC, datetime
from functools import partial
from typing import Any

from sqlalchemy import BigInteger, Index
from sqlalchemy.orm import Mapped, mapped_column

from control.db.base import Base, BigId, Made
from control.db.ids import new_id


class Token(Made, Base):
    """A bearer token; only its hash is kept."""

    __tablename__ = "tokens"

    id: Mapped[str] = mapped_column(primary_key=True, default=partial(new_id, "tok"))
    name: Mapped[str]
    prefix: Mapped[str] = mapped_column(index=True)
    """First characters of the secret: finds the row, proves nothing."""
    secret_hash: Mapped[str]
    scopes: Mapped[list[str]]
    models: Mapped[list[str] | None]
    """Names it is limited to; None: all."""
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    replaces: Mapped[str | None]
    """The token it was made for by a rotation."""
    max_running: Mapped[int | None]
    """Jobs of it that workers may hold at once; None: any number."""
    max_slots: Mapped[int | None]
    """Training slots they may hold at once."""
    max_queued: Mapped[int | None]
    """Jobs of it that may wait at once."""
    max_images: Mapped[int | None]
    """Images of it that a feature server may have under way; None: as that is set."""
    max_pixels_per_second: Mapped[int | None] = mapped_column(BigInteger)
    """Of images it sends to a feature server; None: as that is set."""


class IdempotencyKey(Base):
    """A POST that was answered, and its answer."""

    __tablename__ = "idempotency_keys"

    token_id: Mapped[str] = mapped_column(primary_key=True)
    route: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    fingerprint: Mapped[str]
    """Of the request."""
    status: Mapped[int | None]
    location: Mapped[str | None]
    body: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime] = mapped_column(default=lambda: datetime.now(UTC), index=True)


class AuditEntry(Base):
    """Who did what to what."""

    __tablename__ = "audit"
    __table_args__ = (Index("ix_audit_actor_id", "actor", "id"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    time: Mapped[datetime] = mapped_column(default=lambda: datetime.now(UTC), index=True)
    actor: Mapped[str]
    action: Mapped[str]
    target: Mapped[str] = mapped_column(index=True)
    details: Mapped[dict[str, Any]]
    request_id: Mapped[str | None]
