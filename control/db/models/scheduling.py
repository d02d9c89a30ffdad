"""Who works, and on what: workers, and the slots of their hosts."""

from datetime import datetime
from functools import partial

from sqlalchemy import BigInteger, ForeignKey, false
from sqlalchemy.orm import Mapped, mapped_column

from control.db.base import Base, Made
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
