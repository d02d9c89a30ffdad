"""The table of the hosts that work on one attempt together."""

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from control.db.base import Base


class AttemptNode(Base):
    """One host's share of an attempt that takes several: its slots, its runner, how it ended."""

    __tablename__ = "attempt_nodes"
    __table_args__ = (Index("ix_attempt_nodes_host_ended_at", "host", "ended_at"),)

    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)
    fence: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    """That of the attempt: one for all of its nodes."""
    node: Mapped[int] = mapped_column(primary_key=True)
    """0 leads: its runner keeps the run's lease, its first process writes the events."""
    host: Mapped[str]
    worker_id: Mapped[str | None]
    """Whose runner works on it; None until one takes it up."""
    slots: Mapped[list[str]]
    """UUIDs, on `host`."""
    state: Mapped[str] = mapped_column(default="waiting")
    """`waiting`, `starting`, `running`, then how it ended: `completed`, `stopped`, `failed`, `lost` or `preempted`."""
    endpoint: Mapped[str | None]
    """`ADDRESS:PORT` where the processes of all nodes meet; node 0 publishes it."""
    resume_digest: Mapped[str | None]
    """Of the checkpoint that node 0, and so every node, continues from."""
    lease_expires_at: Mapped[datetime]
    pid: Mapped[int | None]
    """Of the runner, on `host`."""
    reason: Mapped[str | None]
    exit_code: Mapped[int | None]
    log_tail: Mapped[str | None]
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
