"""Who is at the other end of a call, and who is let in at the end."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import pytest

from server.rpc.doorway import Call, Doorway, Method, host_of, one_each
from server.rpc.health import SERVING, HealthCheckRequest, HealthCheckResponse
from tests.log_lines import lines_of
from tests.unit.server.rpc.conftest import Serve
from tests.unit.server.rpc.frames import call_without_a_window
from tests.unit.server.rpc.lines import Lines

TOKEN = (("authorization", "Bearer good"),)
Work = Callable[[Any, Call], Awaitable[Any]]


async def never(request: Any, call: Call) -> Any:
    pytest.fail("there is nothing to work on")


def working(work: Work) -> Callable[[Doorway], grpc.GenericRpcHandler]:
    def handlers(doorway: Doorway) -> grpc.GenericRpcHandler:
        handler = doorway.closed(Method("a.Service", "Work", HealthCheckRequest), "features", work)
        return grpc.method_handlers_generic_handler("a.Service", {"Work": one_each(handler)})

    return handlers


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


@pytest.mark.parametrize(
    ("metadata", "seconds", "says"),
    [((), 300, ("UNAUTHENTICATED", "send a token")), (TOKEN, 0.01, ("INVALID_ARGUMENT", "not come within 0.01 s"))],
    ids=["without a token nothing is waited for", "with one for a while"],
)
def test_a_caller_who_sends_no_message_holds_no_place_for_long(
    serve: Serve, lines: Lines, metadata: Any, seconds: float, says: tuple[str, str]
) -> None:
    async def scene() -> None:
        async with serve(working(never), seconds=seconds) as channel:
            # On the wire it is the same call, whose message may be late.
            call = channel.stream_unary("/a.Service/Work")(metadata=metadata)
            assert (await call.code()).name == says[0]
            assert says[1] in await call.details()

    asyncio.run(scene())
    assert [(line["grpc"], line["bytes_in"]) for line in lines.lines] == [(says[0], 0)]


def test_a_call_that_ends_without_a_message_is_refused(serve: Serve) -> None:
    async def scene() -> None:
        async with serve(working(never)) as channel:
            call = channel.stream_unary("/a.Service/Work")(metadata=TOKEN)
            await call.done_writing()
            assert (await call.code()).name == "INVALID_ARGUMENT"
            assert await call.details() == "the call has no message"

    asyncio.run(scene())


def test_a_caller_who_takes_no_answer_is_cut_off(listen: Serve, caplog: pytest.LogCaptureFixture) -> None:
    """Its window for answers is of no byte, and stays so."""
    ended = asyncio.Event()

    async def work(request: Any, call: Call) -> Any:
        call.at_end(ended.set)
        return HealthCheckResponse(status=SERVING)

    async def scene() -> None:
        async with listen(working(work), read_seconds=0.01) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(call_without_a_window("/a.Service/Work", dict(TOKEN)))
            await reader.read()  # to the end of the connection
            await ended.wait()
            writer.close()

    asyncio.run(scene())
    (said,) = lines_of(caplog, "server.rpc.doorway")
    assert "2 bytes of an answer were not taken" in said.message


def test_once_the_service_ends_new_calls_are_refused_and_those_under_way_go_on(
    serve: Serve, lines: Lines, closing: asyncio.Event
) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def work(request: Any, call: Call) -> Any:
        begun.set()
        await go_on.wait()
        return HealthCheckResponse(status=SERVING)

    async def scene() -> None:
        async with serve(working(work)) as channel:
            ask = channel.unary_unary("/a.Service/Work")
            first = ask(b"", metadata=TOKEN)
            await begun.wait()
            closing.set()
            with pytest.raises(grpc.aio.AioRpcError, match="this server is ending") as caught:
                await ask(b"", metadata=TOKEN)
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
            go_on.set()
            assert await first == b"\x08\x01"

    asyncio.run(scene())
    # In either order: a line is written once gRPC says that the answer is out, which its caller may know before.
    assert {line["grpc"]: line.get("cause") for line in lines.lines} == {"UNAVAILABLE": "ending", "OK": None}
    assert len(lines.lines) == 2
