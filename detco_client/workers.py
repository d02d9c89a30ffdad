"""Workers: who works, on what, and taking one out of service."""

from collections.abc import Iterator
from typing import Any, cast
from urllib.parse import quote

from detco_client.resources.workers import Worker
from detco_client.transport import Transport


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
