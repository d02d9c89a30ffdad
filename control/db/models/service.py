"""Tables of the service itself: workers and slots, leaders, outbox, idempotency keys, tokens, audit."""

from datetime import UTC, datetime
from functools import partial
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, false
from sqlalchemy.orm import Mapped, mapped_column

from control.db.base import Base, BigId, Made
from control.db.ids import new_id


class Worker(Made, Base):
    """One worker process, alive as long as it says so."""

    __tablename__ = "workers"

    id: Mapped[str] = mapped_column(primary_key=True, default=partial(new_id, "wkr"))
    host: Mapped[str] = mapped_column(index=True)
    pid: Mapped[int]
    software: Mapped[str]
    """Its version of detco."""
    roots: Mapped[list[str]]
    """Folders it can read data sets from, symlinks followed."""
    state: Mapped[str] = mapped_column(default="active")
    """`active`, `draining` (claims nothing new) or `gone`."""
    seen_at: Mapped[datetime]
    """Last heartbeat, by the database's clock."""
    looked_at: Mapped[datetime | None]
    """Last look at the queue."""
    preempting: Mapped[bool] = mapped_column(default=False, server_default=false())
    """While it drains: its runs are to save and go elsewhere."""


class Slot(Base):
    """One thing a run can be given on one host: a GPU, a CPU training place, a place for light work."""

    __tablename__ = "slots"

    host: Mapped[str] = mapped_column(primary_key=True)
    uuid: Mapped[str] = mapped_column(primary_key=True)
    """`GPU-...`, `cpu:0`, `light:0`."""
    purpose: Mapped[str]
    """`train`, `light` or `serve`."""
    is_gpu: Mapped[bool]
    name: Mapped[str]
    memory: Mapped[int | None] = mapped_column(BigInteger)
    """Bytes."""
    run_id: Mapped[str | None] = mapped_column(ForeignKey("runs.id"), index=True)
    fence: Mapped[int | None] = mapped_column(BigInteger)
    leased_at: Mapped[datetime | None]
    set_aside: Mapped[str | None]
    """Why it is given to nobody for now: a stranger uses the GPU."""
    holder: Mapped[str | None]
    """Of a `serve` slot: the server process that has it."""
    expires_at: Mapped[datetime | None]
    """When a `serve` slot is free again unless its holder says otherwise."""


class Leader(Base):
    """Who does a duty that only one process may do."""

    __tablename__ = "leaders"

    duty: Mapped[str] = mapped_column(primary_key=True)
    holder: Mapped[str]
    expires_at: Mapped[datetime]


class OutboxEntry(Base):
    """A wake-up to be sent after the commit that wrote it."""

    __tablename__ = "outbox"
    __table_args__ = (Index("ix_outbox_sent_at_due_at", "sent_at", "due_at"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    queue: Mapped[str]
    created_at: Mapped[datetime]
    due_at: Mapped[datetime]
    sent_at: Mapped[datetime | None]
    tries: Mapped[int] = mapped_column(default=0)


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
