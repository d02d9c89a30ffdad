"""A gRPC server on a port of its own, whose tokens are made up."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

from control.errors import Unauthorized
from control.records.access.principals import Principal
from server.http.access import AccessLog
from server.http.middleware.tracing import Tracing
from server.rpc.doorway import Doorway
from server.rpc.record import Recorder
from server.telemetry import Telemetry
from tests.unit.server.rpc.lines import Lines

Serve = Callable[..., Any]


class Porter:
    """Lets in who says `Bearer good`, so long as that is so."""

    def __init__(self) -> None:
        self.good = True

    async def admit(self, authorization: str | None, address: str, *, last_good: bool = False) -> Principal:
        if authorization != "Bearer good" or not self.good:
            raise Unauthorized("send a token")
        return Principal("tok_1", "ours", frozenset({"features"}), None, None)


@pytest.fixture
def porter() -> Porter:
    return Porter()


@pytest.fixture
def lines() -> Lines:
    """The access log."""
    return Lines()


@pytest.fixture
def closing() -> asyncio.Event:
    """Set when the service ends."""
    return asyncio.Event()


@pytest.fixture
def listen(porter: Porter, lines: Lines, closing: asyncio.Event) -> Serve:
    """The port of a server of what is made with its doorway; messages may take some `seconds` to come, and any answer
    some `read_seconds` to be taken.
    """
    recorder = Recorder(Telemetry(), AccessLog(lines), Tracing())

    @asynccontextmanager
    async def listening(
        make: Callable[[Doorway], grpc.GenericRpcHandler], seconds: float = 300, read_seconds: float = 300
    ) -> AsyncIterator[int]:
        server = grpc.aio.server()
        doorman: Any = porter  # of the doorman `admit` alone is needed
        server.add_generic_rpc_handlers((make(Doorway(doorman, recorder, closing, seconds, read_seconds)),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            yield port
        finally:
            await server.stop(None)

    return listening


@pytest.fixture
def serve(listen: Serve) -> Serve:
    """A channel to such a server."""

    @asynccontextmanager
    async def serving(
        make: Callable[[Doorway], grpc.GenericRpcHandler], **bounds: float
    ) -> AsyncIterator[grpc.aio.Channel]:
        async with listen(make, **bounds) as port, grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield channel

    return serving
