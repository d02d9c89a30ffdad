"""Runs, found by their labels, waiting for those they come after."""

from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import BigInteger, Float, ForeignKey, Index, false, text, true
from sqlalchemy.orm import Mapped, mapped_column

from control.db.base import Base, Made, Words
from control.db.ids import new_id
from control.states import DesiredState, State

_RESERVED = text("reserved_host IS NOT NULL")
_LARGE = text("slots_wanted > 1")


class Run(Made, Base):
    """One job of any kind, from submission to its end: the row is the job."""

    __tablename__ = "runs"
    __table_args__ = (
        # In the order the queue is taken, so that a claim ends at the first run it may have, however many wait.
        Index("ix_runs_most_urgent", "queue", "state", text("priority DESC"), "id"),
        Index(
            "ix_runs_large",
            *("queue", "state", text("priority DESC"), "id"),
            sqlite_where=_LARGE,
            postgresql_where=_LARGE,
        ),
        Index("ix_runs_reserved_host", "reserved_host", sqlite_where=_RESERVED, postgresql_where=_RESERVED),
        Index("ix_runs_lease", "state", "lease_expires_at"),
        Index("ix_runs_kind_id", "kind", "id"),
        Index("ix_runs_kind_state_id", "kind", "state", "id"),
        Index("ix_runs_token_id_state", "token_id", "state"),
    )

    id: Mapped[str] = mapped_column(primary_key=True, default=partial(new_id, "run"))
    kind: Mapped[str]
    """`pretrain`, `evaluate`, `export`, `extract`, `check` or `import`."""
    queue: Mapped[str]
    """`gpu` or `cpu`; decides the purpose of the slots it needs."""
    name: Mapped[str | None]
    labels: Mapped[dict[str, str]]
    group: Mapped[str | None] = mapped_column(index=True)
    priority: Mapped[int] = mapped_column(default=0)
    """Larger is more urgent."""
    spec: Mapped[dict[str, Any]]
    spec_digest: Mapped[str]
    config_digest: Mapped[str | None]
    """Of the resolved config; pretrain only."""
    dataset_version_id: Mapped[str | None] = mapped_column(ForeignKey("dataset_versions.id"), index=True)
    dataset: Mapped[str | None]
    """`name@version`"""
    forked_from: Mapped[str | None] = mapped_column(index=True)
    """The run whose checkpoint this one goes on from; kept when that run is deleted."""
    slots_wanted: Mapped[int] = mapped_column(default=1)
    """Of all its nodes together, shared out evenly."""
    nodes: Mapped[int] = mapped_column(default=1, server_default="1")
    """Hosts that work on it together."""
    max_attempts: Mapped[int] = mapped_column(default=3)
    grace_seconds: Mapped[float | None] = mapped_column(Float)
    """Of this run, between SIGTERM and SIGKILL; None: the service's setting."""
    token_id: Mapped[str | None]
    """The token whose quota it counts against; None: nobody's."""
    preemptible: Mapped[bool] = mapped_column(default=True, server_default=true())
    """Whether it may be asked to save and make room for a more urgent run that wants to preempt."""
    preempt: Mapped[bool] = mapped_column(default=False, server_default=false())
    """Whether less urgent runs are asked to make room for it."""
    max_seconds: Mapped[float | None] = mapped_column(Float)
    """Workers may work on it this long, all attempts together."""
    idle_seconds: Mapped[float | None] = mapped_column(Float)
    """Its job may be silent this long; None: the service's setting."""
    traceparent: Mapped[str | None]
    """Of the request it was submitted by (W3C Trace Context), where that made spans: its attempts are spans there."""

    state: Mapped[State] = mapped_column(Words, default="queued")
    desired_state: Mapped[DesiredState] = mapped_column(Words, default="run")
    reason: Mapped[str | None]
    version: Mapped[int] = mapped_column()
    """Counts changes of the row: the ETag."""
    attempt: Mapped[int] = mapped_column(default=0)
    """Attempts made so far; the current one's number while a worker holds the run."""
    failures: Mapped[int] = mapped_column(default=0)
    losses: Mapped[int] = mapped_column(default=0)
    not_before: Mapped[datetime | None]
    """Back-off: not claimed before this time."""
    kicked_at: Mapped[datetime | None]
    """When a wake-up was last asked for."""
    fence: Mapped[int] = mapped_column(BigInteger, default=0)
    """Raised by every claim and every reaping; a write that carries another one is stale."""
    lease_owner: Mapped[str | None]
    lease_host: Mapped[str | None]
    lease_expires_at: Mapped[datetime | None]
    reserved_host: Mapped[str | None]
    """Where others were asked to make room for it: no less urgent run takes that room, until `reserved_until`."""
    reserved_until: Mapped[datetime | None]

    progress: Mapped[dict[str, Any] | None]
    environment: Mapped[dict[str, Any] | None]
    report: Mapped[dict[str, Any] | None]
    keep: Mapped[dict[str, Any] | None]
    """Which checkpoints are kept (`control.retention.Policy`); what is not in it is the service's setting."""
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    deleted_at: Mapped[datetime | None]
    """From then on nobody is shown the run; the row stays for its usage and for what came from it."""
    gpu_seconds: Mapped[float] = mapped_column(Float, default=0.0)
    cpu_seconds: Mapped[float | None] = mapped_column(Float)
    """Of its ended attempts; None where none was measured."""
    worked_seconds: Mapped[float] = mapped_column(Float, default=0.0, server_default="0")
    """From claim to end, of all attempts that have ended."""
    stored_bytes: Mapped[int] = mapped_column(BigInteger, default=0)

    # Every flush asks for the version it read: a lost update is an error, never a silent one.
    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012 - SQLAlchemy's own declaration


class RunLabel(Base):
    """A label of a run once more, to find runs by (`control.records.runs.labels`)."""

    __tablename__ = "run_labels"
    __table_args__ = (
        Index("ix_run_labels_key_value_run_id", "key", "value", "run_id"),
        {"sqlite_with_rowid": False},
    )

    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[str]


class RunDependency(Base):
    """`run_id` is not claimed before `after_id` is completed."""

    __tablename__ = "run_dependencies"

    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id"), primary_key=True)
    after_id: Mapped[str] = mapped_column(ForeignKey("runs.id"), primary_key=True, index=True)
