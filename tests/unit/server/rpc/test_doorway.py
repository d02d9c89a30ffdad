"""Who is at the other end of a call, and who is let in at the end."""

import asyncio
from typing import Any

import grpc
import pytest

from server.rpc.doorway import Call, Doorway, Method, host_of
from server.rpc.health import SERVING, HealthCheckRequest, HealthCheckResponse
from tests.unit.server.rpc.conftest import Serve
from tests.unit.server.rpc.lines import Lines


@pytest.mark.parametrize(
    ("peer", "host"),
    [
        ("ipv4:127.0.0.1:5000", "127.0.0.1"),
        ("ipv6:%5B::1%5D:5000", "::1"),
        ("ipv6:[fe80::1%25eth0]:5000", "fe80::1%eth0"),
        ("unix:", ""),
        ("unix:/run/x", ""),
    ],
)
def test_the_address_of_a_peer(peer: str, host: str) -> None:
    assert host_of(peer) == host


def test_once_the_service_ends_new_calls_are_refused_and_those_under_way_go_on(
    serve: Serve, lines: Lines, closing: asyncio.Event
) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def work(request: Any, call: Call) -> Any:
        begun.set()
        await go_on.wait()
        return HealthCheckResponse(status=SERVING)

    def handlers(doorway: Doorway) -> grpc.GenericRpcHandler:
        handler = doorway.closed(Method("a.Service", "Work", HealthCheckRequest), "features", work)
        return grpc.method_handlers_generic_handler("a.Service", {"Work": grpc.unary_unary_rpc_method_handler(handler)})

    async def scene() -> None:
        async with serve(handlers) as channel:
            ask = channel.unary_unary("/a.Service/Work")
            token = (("authorization", "Bearer good"),)
            first = ask(b"", metadata=token)
            await begun.wait()
            closing.set()
            with pytest.raises(grpc.aio.AioRpcError, match="this server is ending") as caught:
                await ask(b"", metadata=token)
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
            go_on.set()
            assert await first == b"\x08\x01"

    asyncio.run(scene())
    # In either order: a line is written once gRPC says that the answer is out, which its caller may know before.
    assert {line["grpc"]: line.get("cause") for line in lines.lines} == {"UNAVAILABLE": "ending", "OK": None}
    assert len(lines.lines) == 2
