"""What runs leave in the store."""

from datetime import datetime
from functools import partial

from sqlalchemy import BigInteger, Float, ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from control.db.base import Base, Made
from control.db.ids import new_id


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
