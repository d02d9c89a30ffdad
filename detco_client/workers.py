"""Workers: who works, on what, and taking one out of service."""

from collections.abc import Iterator
from typing import Any, Literal, TypedDict, cast
from urllib.parse import quote

from detco_client.resources import Resource
from detco_client.transport import Transport


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


class Workers:
    """`client.workers`; draining needs the scope `admin`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, *, all: bool = False) -> Iterator[Worker]:
        """Those heard of lately, newest first; `all`: those that are gone, too."""
        params: dict[str, Any] = {"all": "true"} if all else {}
        return self._transport.items("/v1/workers", params)

    def get(self, id: str) -> Worker:
        return cast(Worker, self._transport.get(_path(id)))

    def drain(self, id: str, *, preempt: bool = False) -> Worker:
        """Let it claim nothing new; `preempt`: its runs save and are queued again at once."""
        return cast(Worker, self._transport.post(f"{_path(id)}/drain", {"preempt": preempt}))

    def undrain(self, id: str) -> Worker:
        """Let it claim again."""
        return cast(Worker, self._transport.post(f"{_path(id)}/undrain"))


def _path(id: str) -> str:
    return f"/v1/workers/{quote(id, safe='')}"
