"""Tables of what the service submits by itself: a monitor's evaluations, and the runs of a sweep."""

from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from control.db.base import Base, Made
from control.db.ids import new_id


class MonitorEvaluation(Base):
    """A checkpoint that a run's monitor has had evaluated, or is having evaluated.

    While the evaluation has not ended, retention keeps the checkpoint; then the score speaks for it.
    """

    __tablename__ = "monitor_evaluations"
    __table_args__ = (Index("ix_monitor_evaluations_run_id_turn", "run_id", "turn"),)

    checkpoint_id: Mapped[str] = mapped_column(ForeignKey("checkpoints.id", ondelete="CASCADE"), primary_key=True)
    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"))
    """The run that is watched."""
    evaluation_id: Mapped[str] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"), unique=True)
    turn: Mapped[int]
    """Which multiple of `every_epochs` it is the first checkpoint after; 0 for the end of a short run."""
    step: Mapped[int] = mapped_column(BigInteger)
    """Of the checkpoint."""


class Sweep(Made, Base):
    """Runs of one config that differ in a few keys, submitted together."""

    __tablename__ = "sweeps"

    id: Mapped[str] = mapped_column(primary_key=True, default=partial(new_id, "swp"))
    name: Mapped[str | None]
    labels: Mapped[dict[str, str]]
    group: Mapped[str] = mapped_column(index=True)
    """Of its runs and evaluations; the sweep's own id unless another was asked for."""
    dataset: Mapped[str]
    """`name@version`"""
    preset: Mapped[str]
    overrides: Mapped[dict[str, Any]]
    """What all of its runs have in common."""
    varied: Mapped[list[str]]
    """The keys in which they differ."""
    max_parallel: Mapped[int | None]
    """How many of its runs workers may hold at once; None: as many as there is room for."""
    evaluate: Mapped[dict[str, Any] | None]
    """What each run's last checkpoint is evaluated by: a `NewEvaluation` without its source; None: by nothing."""
    cancelled_at: Mapped[datetime | None]


class SweepRun(Base):
    """One combination of a sweep, the run it has become, and that run's evaluation."""

    __tablename__ = "sweep_runs"

    sweep_id: Mapped[str] = mapped_column(ForeignKey("sweeps.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    """From 1, in the order of the request."""
    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"), unique=True)
    evaluation_id: Mapped[str | None] = mapped_column(ForeignKey("runs.id", ondelete="SET NULL"), unique=True)
    """Made when the run is completed."""
    waits: Mapped[bool] = mapped_column(default=False, index=True)
    """Whether an evaluation is still to be made."""
    reason: Mapped[str | None]
    """Why there is no evaluation where one was asked for."""
    overrides: Mapped[dict[str, Any]]
    """The values of the varied keys."""
