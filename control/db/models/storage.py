"""Tables of what the artifact store holds: its objects, what is to be deleted, and which runs are to be looked at."""

from datetime import UTC, datetime
from functools import partial

from sqlalchemy import BigInteger, ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from control.db.base import Base, BigId, Made
from control.db.ids import new_id


class StoredObject(Base):
    """One object of the store, as far as the tables know; what needs it are the rows that hold its key."""

    __tablename__ = "objects"

    key: Mapped[str] = mapped_column(primary_key=True)
    bytes: Mapped[int] = mapped_column(BigInteger)
    state: Mapped[str] = mapped_column(default="stored", index=True)
    """`stored`, `doomed` (a row that held it is gone: to be looked at) or `removing` (nobody may take it up again)."""
    changed_at: Mapped[datetime] = mapped_column(default=lambda: datetime.now(UTC))
    """When the state changed, by the database's clock."""
    damaged_at: Mapped[datetime | None] = mapped_column(index=True)
    """When a reader found it missing, or with other bytes than its key names."""
    damage: Mapped[str | None]


class Deletion(Made, Base):
    """Something that was deleted on request; stays as the answer to whoever asks again."""

    __tablename__ = "deletions"

    id: Mapped[str] = mapped_column(primary_key=True, default=partial(new_id, "del"))
    kind: Mapped[str]
    """`run`, `evaluation`, `model`, `model version` or `weights`."""
    target: Mapped[str] = mapped_column(index=True)
    """Id or reference of what was deleted."""
    state: Mapped[str] = mapped_column(default="deleting", index=True)
    """`deleting` while rows of it are left, then `deleted`."""
    runs: Mapped[list[str]]
    """Ids of the runs whose rows go with it."""
    derived: Mapped[list[str]]
    """What was made from it, and stays."""
    bytes: Mapped[int] = mapped_column(BigInteger)
    """In the store, that nothing else needs."""
    finished_at: Mapped[datetime | None]


class RunUse(Base):
    """A checkpoint, model version or weights that a run was told to work on."""

    __tablename__ = "run_uses"

    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id"), primary_key=True)
    used_id: Mapped[str] = mapped_column(primary_key=True, index=True)
    """`ckpt_...`, `mv_...` or `wts_...`."""


class RetentionDue(Base):
    """A run whose checkpoints are to be looked at: a queue, so that whoever adds to it locks nothing of the run."""

    __tablename__ = "retention_due"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    run_id: Mapped[str] = mapped_column(index=True)
