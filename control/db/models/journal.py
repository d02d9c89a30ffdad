"""What is written down while a run is worked on: events, values, what its processes print."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Float, ForeignKey, Index, LargeBinary, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from control.db.base import Base, BigId


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
