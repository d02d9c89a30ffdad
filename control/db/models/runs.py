"""Tables of the work itself: runs, their attempts, and everything an attempt says and leaves behind."""

from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import BigInteger, Float, ForeignKey, Index, LargeBinary, UniqueConstraint, false, text, true
from sqlalchemy.orm import Mapped, mapped_column

from control.db.base import Base, BigId, Made, Words
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


class RunEvent(Base):
    """What happened to a run, in order: the child's own events and the service's `state` events.

    Ids grow in commit order within a run, because every writer holds the run's row: a reader that asks for what came
    after the last id it saw misses nothing.
    """

    __tablename__ = "events"
    __table_args__ = (
        UniqueConstraint("run_id", "fence", "seq"),
        Index("ix_events_run_id_id", "run_id", "id"),
        Index("ix_events_run_id_type_id", "run_id", "type", "id"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id"))
    fence: Mapped[int] = mapped_column(BigInteger)
    seq: Mapped[int | None] = mapped_column(BigInteger)
    """The child's own count; None for the service's events."""
    type: Mapped[str]
    payload: Mapped[dict[str, Any]]
    time: Mapped[datetime]
    """By the clock of the machine that said it."""


class Metric(Base):
    """One value of one step; a resumed attempt that passes a step again replaces it."""

    __tablename__ = "metrics"
    # Kept in the order of its key, which is how it is read; a table beside its index would be half as large again.
    __table_args__ = ({"sqlite_with_rowid": False},)

    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id"), primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    step: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    value: Mapped[float] = mapped_column(Float(53))
    time: Mapped[datetime]


class MetricLatest(Base):
    """The newest and the extreme values of one metric of one run."""

    __tablename__ = "metric_latest"

    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id"), primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    step: Mapped[int] = mapped_column(BigInteger)
    value: Mapped[float] = mapped_column(Float(53))
    lowest: Mapped[float] = mapped_column(Float(53))
    highest: Mapped[float] = mapped_column(Float(53))


class LogPiece(Base):
    """A stretch of what the processes of an attempt have printed."""

    __tablename__ = "log_pieces"
    __table_args__ = (
        Index(
            "ix_log_pieces_loose",
            "run_id",
            "fence",
            "node",
            sqlite_where=text("key IS NULL"),
            postgresql_where=text("key IS NULL"),
        ),
        Index(
            "ix_log_pieces_key",
            "key",
            sqlite_where=text("key IS NOT NULL"),
            postgresql_where=text("key IS NOT NULL"),
        ),
    )

    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id"), primary_key=True)
    fence: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    node: Mapped[int] = mapped_column(primary_key=True)
    """Which of the hosts that work on the attempt."""
    start: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    """Its first byte, counted from the beginning of the attempt's log."""
    size: Mapped[int] = mapped_column(BigInteger)
    """Bytes."""
    data: Mapped[bytes | None] = mapped_column(LargeBinary)
    """What was printed; None once it is in the store."""
    key: Mapped[str | None]
    """In the artifact store."""


class Checkpoint(Made, Base):
    """A checkpoint in the store."""

    __tablename__ = "checkpoints"
    __table_args__ = (
        UniqueConstraint("run_id", "fence", "step"),
        Index("ix_checkpoints_run_id_state", "run_id", "state"),
    )

    id: Mapped[str] = mapped_column(primary_key=True, default=partial(new_id, "ckpt"))
    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id"))
    fence: Mapped[int] = mapped_column(BigInteger)
    step: Mapped[int] = mapped_column(BigInteger)
    epoch: Mapped[float] = mapped_column(Float)
    bytes: Mapped[int] = mapped_column(BigInteger)
    digest: Mapped[str]
    key: Mapped[str] = mapped_column(index=True)
    """In the artifact store."""
    score: Mapped[float | None] = mapped_column(Float(53))
    """By the metric of the run's monitor; None where it was not looked at, or not yet."""
    state: Mapped[str] = mapped_column(default="stored", server_default="stored")
    """`stored`, `deleting` (nothing may refer to it any more) or `deleted` (its bytes are gone, or another's)."""
    pinned_by: Mapped[str | None]
    """Who said that it must stay."""
    pinned_at: Mapped[datetime | None]


class Artifact(Made, Base):
    """Any other file a run leaves in the store; a later one of the same name replaces the row."""

    __tablename__ = "artifacts"
    __table_args__ = (UniqueConstraint("run_id", "name"),)

    id: Mapped[str] = mapped_column(primary_key=True, default=partial(new_id, "art"))
    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id"))
    fence: Mapped[int] = mapped_column(BigInteger)
    name: Mapped[str]
    bytes: Mapped[int] = mapped_column(BigInteger)
    digest: Mapped[str]
    key: Mapped[str] = mapped_column(index=True)
