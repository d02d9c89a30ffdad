"""Workers and the slots of their hosts."""

from typing import Literal, TypedDict

from detco_client.resources.base import Resource


class Slot(TypedDict):
    """One thing a job can be given on a host."""

    uuid: str
    purpose: str
    """`train`, `light` or `serve`."""
    is_gpu: bool
    name: str
    memory: int | None
    run: str | None
    """The job that has it."""
    leased_at: str | None
    holder: str | None
    """The server process that has it."""
    set_aside: str | None
    """Why it is given to nobody for now."""


class Worker(Resource):
    """One worker process and the slots of its host."""

    host: str
    pid: int
    software: str
    state: Literal["active", "draining", "gone"]
    preempting: bool
    roots: list[str]
    seen_at: str
    heartbeat_age: float
    """Seconds since its last heartbeat."""
    looked_at: str | None
    """Its last look at the queue."""
    slots: list[Slot]
