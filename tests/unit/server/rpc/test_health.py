"""The standard health service: what it says, to whom who asks once and to whom who watches, until the end."""

import asyncio
from typing import Any

import grpc
import pytest

from server.rpc.health import NOT_SERVING, SERVICE, SERVICE_UNKNOWN, SERVING, Health, HealthCheckRequest
from tests.unit.server.rpc.conftest import Serve
from tests.unit.server.rpc.lines import Lines

INFERENCE = "inference.GRPCInferenceService"


class House:
    """Something that is ready or not, and the service that says so."""

    def __init__(self, look_seconds: float = 0.001) -> None:
        self.ready = True
        self.closing = asyncio.Event()
        self.health = Health(self.look, self.closing, look_seconds)

    async def look(self) -> bool:
        return self.ready


def asked(service: str) -> bytes:
    encoded: bytes = HealthCheckRequest(service=service).SerializeToString()
    return encoded


def status(answer: bytes) -> int:
    """Of a response as the protocol's own file describes it: field 1, a number."""
    assert answer[:1] == b"\x08"
    return answer[1]


async def check(channel: grpc.aio.Channel, service: str = "") -> int:
    return status(await channel.unary_unary(f"/{SERVICE}/Check")(asked(service)))


async def code(call: Any) -> str:
    name: str = (await call.code()).name
    return name


def test_the_messages_are_the_standard_ones() -> None:
    assert asked("a") == b"\x0a\x01a"
    assert asked("") == b""
    assert HealthCheckRequest.DESCRIPTOR.full_name == "grpc.health.v1.HealthCheckRequest"


def test_it_says_whether_it_is_ready_to_anyone(serve: Serve) -> None:
    async def scene() -> None:
        house = House()
        async with serve(house.health.handlers) as channel:
            assert [await check(channel), await check(channel, INFERENCE)] == [SERVING, SERVING]
            house.ready = False
            assert [await check(channel), await check(channel, INFERENCE)] == [NOT_SERVING, NOT_SERVING]
            house.ready = True
            house.closing.set()
            assert await check(channel) == NOT_SERVING

    asyncio.run(scene())


@pytest.mark.parametrize(("payload", "word"), [(asked("other"), "NOT_FOUND"), (b"\xff\xff", "INVALID_ARGUMENT")])
def test_what_is_not_here_is_said_so(serve: Serve, payload: bytes, word: str) -> None:
    async def scene() -> None:
        async with serve(House().health.handlers) as channel:
            assert await code(channel.unary_unary(f"/{SERVICE}/Check")(payload)) == word

    asyncio.run(scene())


def test_who_watches_learns_of_each_change_and_of_the_end(serve: Serve) -> None:
    async def scene() -> None:
        house = House()
        async with serve(house.health.handlers) as channel:
            watch = channel.unary_stream(f"/{SERVICE}/Watch")
            first, second = watch(asked(INFERENCE)), watch(asked(""))
            unknown = watch(asked("other"))
            assert [status(await call.read()) for call in (first, second)] == [SERVING, SERVING]
            house.ready = False
            assert [status(await call.read()) for call in (first, second)] == [NOT_SERVING, NOT_SERVING]
            house.ready = True
            assert [status(await call.read()) for call in (first, second)] == [SERVING, SERVING]
            assert status(await unknown.read()) == SERVICE_UNKNOWN
            house.closing.set()
            assert [status(await call.read()) for call in (first, second)] == [NOT_SERVING, NOT_SERVING]
            assert [await code(call) for call in (first, second, unknown)] == ["UNAVAILABLE"] * 3

    asyncio.run(scene())


def test_a_look_is_one_for_all_who_watch(serve: Serve) -> None:
    async def scene() -> None:
        looks = []

        async def look() -> bool:
            looks.append(1)
            return True

        async with serve(Health(look, asyncio.Event(), look_seconds=3600).handlers) as channel:
            watch = channel.unary_stream(f"/{SERVICE}/Watch")
            calls = [watch(asked("")) for _ in range(10)]
            assert [status(await call.read()) for call in calls] == [SERVING] * 10
            assert len(looks) == 1

    asyncio.run(scene())


def test_so_many_may_watch_and_who_leaves_makes_room(serve: Serve, lines: Lines) -> None:
    async def scene() -> None:
        house = House()
        house.health.most = 1
        async with serve(house.health.handlers) as channel:
            watch = channel.unary_stream(f"/{SERVICE}/Watch")
            first = watch(asked(""))
            assert status(await first.read()) == SERVING
            second = watch(asked(""))
            assert await code(second) == "UNAVAILABLE"
            first.cancel()
            while not any(line["grpc"] == "CANCELLED" for line in lines.lines):
                await asyncio.sleep(0.001)
            assert status(await watch(asked("")).read()) == SERVING

    asyncio.run(scene())
