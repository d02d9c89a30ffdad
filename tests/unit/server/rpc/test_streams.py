"""A stream of inference: its order, bounds, errors and ends, over a real channel; the network is made up."""

import asyncio
from typing import Any

import grpc
import pytest
from tritonclient.grpc import service_pb2 as wire

from control.records.access.principals import Principal
from server.features.errors import BadTensor
from server.rpc.doorway import Call, Doorway
from server.rpc.streams import AHEAD, SERVICE, InferStreams
from tests.unit.server.rpc.conftest import Porter, Serve
from tests.unit.server.rpc.frames import call_without_a_window
from tests.unit.server.rpc.lines import Lines

METHOD = f"/{SERVICE}/ModelStreamInfer"
GOOD = (("authorization", "Bearer good"), ("x-request-id", "mine"))


class Network:
    """Answers a request when it may, with its id."""

    def __init__(self, ahead: int = 100) -> None:
        self.ahead = ahead
        self.may = asyncio.Event()
        self.may.set()
        self.begun: list[str] = []
        self.ended: list[str] = []
        self.under_way = self.most = 0
        self.released: list[str] = []

    def at_once(self, principal: Principal) -> int:
        return self.ahead

    async def infer(self, request: Any, call: Call, into: Any = None) -> Any:
        name = str(request.id)
        self.begun.append(name)
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        call.at_end(lambda: self.released.append(name))
        try:
            if name == "wrong":
                raise BadTensor("no such tensor")
            if name == "broken":
                raise ZeroDivisionError
            if name != "quick":
                await self.may.wait()
            into.id = name
            self.ended.append(name)
        finally:
            self.under_way -= 1


class House:
    def __init__(self, ahead: int = 100, most: int = 9) -> None:
        self.network = Network(ahead)
        self.closing = asyncio.Event()
        self._streams = InferStreams(most, self.closing)

    def handlers(self, doorway: Doorway) -> grpc.GenericRpcHandler:
        handler = grpc.stream_stream_rpc_method_handler(self._streams.handler(doorway, self.network))
        return grpc.method_handlers_generic_handler(SERVICE, {"ModelStreamInfer": handler})


def stream(channel: grpc.aio.Channel, metadata: Any = GOOD) -> Any:
    return channel.stream_stream(
        METHOD, wire.ModelInferRequest.SerializeToString, wire.ModelStreamInferResponse.FromString
    )(metadata=metadata)


def asked(name: str) -> Any:
    return wire.ModelInferRequest(id=name)


async def until(told: Any) -> None:
    """Wait for what must come; the test ends otherwise by its own limit of time."""
    while not told():
        await asyncio.sleep(0.001)


def test_answers_come_in_the_order_of_requests_whichever_is_ready_first(serve: Serve, lines: Lines) -> None:
    async def scene() -> None:
        house = House()
        house.network.may.clear()
        async with serve(house.handlers) as channel:
            call = stream(channel)
            for name in ("slow", "quick"):
                await call.write(asked(name))
            await until(lambda: house.network.ended == ["quick"])
            house.network.may.set()
            assert [(await call.read()).infer_response.id for _ in range(2)] == ["slow", "quick"]
            await call.done_writing()
            assert await call.read() is grpc.aio.EOF
            assert (await call.code()).name == "OK"
            assert house.network.released == ["slow", "quick"]

    asyncio.run(scene())
    told = [(line["route"], line["request_id"], line["grpc"], line["token"]) for line in lines.lines]
    requests = [(f"{METHOD}/request", f"mine.{n}", "OK", "tok_1") for n in (1, 2)]
    assert told == [*requests, (METHOD, "mine", "OK", "tok_1")]
    assert lines.lines[2]["bytes_out"] == sum(int(str(line["bytes_out"])) for line in lines.lines[:2]) > 0


def test_what_is_wrong_with_a_request_is_its_answer_and_the_stream_goes_on(
    serve: Serve, lines: Lines, caplog: pytest.LogCaptureFixture
) -> None:
    async def scene() -> list[tuple[str, str]]:
        house = House()
        async with serve(house.handlers) as channel:
            call = stream(channel)
            for name in ("a", "wrong", "b", "broken", "c"):
                await call.write(asked(name))
            await call.done_writing()
            answers = [answer async for answer in call]
            assert (await call.code()).name == "OK"
            assert sorted(house.network.released) == sorted(["a", "wrong", "b", "broken", "c"])
            return [(answer.infer_response.id, answer.error_message) for answer in answers]

    told = asyncio.run(scene())
    assert [name for name, _ in told] == ["a", "wrong", "b", "broken", "c"]
    assert [bool(error) for _, error in told] == [False, True, False, True, False]
    assert "no such tensor" in told[1][1]
    assert "the log has it under request id mine.4" in told[3][1]
    assert "ZeroDivisionError" in caplog.text
    codes = {line["request_id"]: line["grpc"] for line in lines.lines}
    assert (codes["mine.1"], codes["mine.2"], codes["mine.4"]) == ("OK", "INVALID_ARGUMENT", "INTERNAL")


def test_garbage_is_an_answer_too(serve: Serve) -> None:
    async def scene() -> None:
        async with serve(House().handlers) as channel:
            call = channel.stream_stream(METHOD, None, wire.ModelStreamInferResponse.FromString)(metadata=GOOD)
            await call.write(b"\xff\xff")
            assert "no ModelInferRequest" in (await call.read()).error_message

    asyncio.run(scene())


@pytest.mark.parametrize(("ahead", "most"), [(1, 1), (3, 3), (100, AHEAD)])
def test_so_many_are_under_way_and_the_rest_wait_unread(serve: Serve, ahead: int, most: int) -> None:
    async def scene() -> None:
        house = House(ahead)
        house.network.may.clear()
        async with serve(house.handlers) as channel:
            call = stream(channel)
            for n in range(30):
                await call.write(asked(str(n)))
            await until(lambda: len(house.network.begun) == most)
            house.network.may.set()
            await call.done_writing()
            assert [answer.infer_response.id async for answer in call] == [str(n) for n in range(30)]
            assert house.network.most == most

    asyncio.run(scene())


def test_a_cancelled_stream_computes_nothing_more_and_keeps_nothing(serve: Serve, lines: Lines) -> None:
    async def scene() -> None:
        house = House(ahead=2)
        house.network.may.clear()
        async with serve(house.handlers) as channel:
            call = stream(channel)
            for name in ("a", "b", "c"):
                await call.write(asked(name))
            await until(lambda: house.network.begun == ["a", "b"])
            call.cancel()
            await until(lambda: len(lines.lines) == 3)
            assert (house.network.begun, house.network.ended) == (["a", "b"], [])
            assert sorted(house.network.released) == ["a", "b"]

    asyncio.run(scene())
    assert {(line["grpc"], line["cause"]) for line in lines.lines} == {("CANCELLED", "caller_left")}


def test_at_the_end_of_the_service_what_was_read_is_answered(serve: Serve) -> None:
    async def scene() -> None:
        house = House()
        house.network.may.clear()
        async with serve(house.handlers) as channel:
            call, idle = stream(channel), stream(channel)
            await call.write(asked("a"))
            await until(lambda: house.network.begun == ["a"])
            house.closing.set()
            assert (await idle.code()).name == "UNAVAILABLE"
            house.network.may.set()
            assert (await call.read()).infer_response.id == "a"
            assert (await call.code()).name == "UNAVAILABLE"

    asyncio.run(scene())


def test_a_token_that_is_no_longer_good_ends_its_stream(serve: Serve, porter: Porter) -> None:
    async def scene() -> None:
        house = House()
        async with serve(house.handlers) as channel:
            assert (await stream(channel, ()).code()).name == "UNAUTHENTICATED"
            call = stream(channel)
            await call.write(asked("a"))
            assert (await call.read()).infer_response.id == "a"
            porter.good = False
            await call.write(asked("b"))
            assert (await call.code()).name == "UNAUTHENTICATED"
            assert house.network.begun == ["a"]

    asyncio.run(scene())


def test_so_many_streams_may_be_open(serve: Serve) -> None:
    async def scene() -> None:
        async with serve(House(most=1).handlers) as channel:
            first = stream(channel)
            await first.write(asked("a"))
            assert (await first.read()).infer_response.id == "a"
            assert (await stream(channel).code()).name == "UNAVAILABLE"
            await first.done_writing()
            assert (await first.code()).name == "OK"
            again = stream(channel)
            await again.write(asked("b"))
            assert (await again.read()).infer_response.id == "b"

    asyncio.run(scene())


def test_a_stream_whose_answers_nobody_takes_is_cut_off(listen: Serve, lines: Lines) -> None:
    house = House()

    async def scene() -> None:
        async with listen(house.handlers, read_seconds=0.001) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(call_without_a_window(METHOD, dict(GOOD)))
            await reader.read()  # to the end of the connection
            await until(lambda: house.network.released == [""])
            writer.close()

    asyncio.run(scene())
    (mine,) = [line for line in lines.lines if line["route"] == f"{METHOD}/request"]
    assert (mine["grpc"], mine["cause"]) == ("CANCELLED", "slow_reader")
