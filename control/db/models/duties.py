"""Wake-ups that are owed, and who leads."""

from datetime import datetime

from sqlalchemy import Index
from sqlalchemy.orm import Mapped, mapped_column

from control.db.base import Base, BigId


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


class Leader(Base):
    """Who does a duty that only one process may do."""

    __tablename__ = "leaders"

    duty: Mapped[str] = mapped_column(primary_key=True)
    holder: Mapped[str]
    expires_at: Mapped[datetime]
