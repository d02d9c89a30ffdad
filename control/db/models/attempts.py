"""Attempts at runs, and the hosts that work on one together."""

from datetime import datetime
from functools import partial

from sqlalchemy import BigInteger, Float, ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from control.db.base import Base, Made
from control.db.ids import new_id


class Attempt(Made, Base):
    """One try of a run by one worker, under one fence."""

    __tablename__ = "attempts"
    __table_args__ = (UniqueConstraint("run_id", "fence"), UniqueConstraint("run_id", "number"))

    id: Mapped[str] = mapped_column(primary_key=True, default=partial(new_id, "att"))
    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id"))
    number: Mapped[int]
    fence: Mapped[int] = mapped_column(BigInteger)
    worker_id: Mapped[str]
    host: Mapped[str]
    slots: Mapped[list[str]]
    """UUIDs of the slots it was given."""
    gpus: Mapped[int] = mapped_column(default=0)
    """How many of them are GPUs."""
    pid: Mapped[int | None]
    """Of the runner, on `host`."""
    state: Mapped[str] = mapped_column(default="starting")
    """`starting`, `running`, then how it ended: `completed`, `stopped`, `failed`, `lost` or `preempted`."""
    error_kind: Mapped[str | None]
    """Of the job's own last event."""
    cause: Mapped[str | None]
    """Why it did not complete (`control.states.Cause`); None: it completed, or left because a person asked."""
    reason: Mapped[str | None]
    exit_code: Mapped[int | None]
    signal: Mapped[str | None]
    """That its process died of, e.g. `SIGKILL`; there is no exit code then."""
    log_tail: Mapped[str | None]
    cpu_seconds: Mapped[float | None] = mapped_column(Float)
    """That its processes used; None while it goes on, and where nobody was left to measure."""
    event_offset: Mapped[int] = mapped_column(BigInteger, default=0)
    """Bytes of `events.jsonl` that are in the tables."""
    started_at: Mapped[datetime | None]
    """When its child ran; `created_at` is when it was claimed."""
    ended_at: Mapped[datetime | None]


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
