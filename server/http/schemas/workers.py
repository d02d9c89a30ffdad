"""Workers and the slots of their hosts."""

from collections.abc import Sequence
from datetime import datetime

from control.db.models import Slot, Worker
from server.http.schemas.base import Body, Resource, View


class DrainRequest(Body):
    """How a worker is taken out of service."""

    preempt: bool = False
    """Its runs save and are queued again at once; else they go on to their end."""


class SlotView(View):
    """One thing a job can be given: a GPU, a CPU training place, a place for light work."""

    uuid: str
    purpose: str
    """`train`, `light` or `serve`."""
    is_gpu: bool
    name: str
    memory: int | None
    """Bytes."""
    run: str | None
    """The job that has it."""
    leased_at: datetime | None
    """Since when."""
    holder: str | None
    """Of a `serve` slot: the server process that has it, `HOST:PID`."""
    set_aside: str | None
    """Why it is given to nobody for now; looked at again with every heartbeat."""


class WorkerView(Resource):
    """One worker process and the slots of its host."""

    host: str
    pid: int
    software: str
    """Its version of detco."""
    state: str
    """`active`, `draining` or `gone`."""
    preempting: bool
    """While it drains: its runs save and go elsewhere."""
    roots: list[str]
    seen_at: datetime
    """Last heartbeat."""
    heartbeat_age: float
    """Seconds since then, by the database's clock."""
    looked_at: datetime | None
    """Last look at the queue, for a wake-up or by itself."""
    slots: list[SlotView]


def worker_view(row: Worker, slots: Sequence[Slot], now: datetime) -> WorkerView:
    same = (
        *("id", "created_at", "created_by", "host", "pid", "software", "state", "preempting", "roots", "seen_at"),
        "looked_at",
    )
    return WorkerView(
        **{field: getattr(row, field) for field in same},
        heartbeat_age=max(0.0, (now - row.seen_at).total_seconds()),
        slots=[slot_view(slot) for slot in slots],
    )


def slot_view(row: Slot) -> SlotView:
    same = ("uuid", "purpose", "is_gpu", "name", "memory", "leased_at", "holder", "set_aside")
    return SlotView(**{field: getattr(row, field) for field in same}, run=row.run_id)
