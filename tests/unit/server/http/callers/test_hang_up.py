"""Work ends with its caller, and with nothing else."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from fastapi import Request
from starlette.requests import ClientDisconnect
from starlette.types import Message

from server.http.callers.hang_up import unless_gone

Receive = Callable[[], Awaitable[Message]]


def asked(receive: Receive) -> Request:
    return Request({"type": "http", "method": "POST", "path": "/", "headers": []}, receive)


class Line:
    """A caller who stays until told to go."""

    def __init__(self) -> None:
        self.gone = asyncio.Event()
        self.listened = 0

    async def receive(self) -> Message:
        self.listened += 1
        await self.gone.wait()
        return {"type": "http.disconnect"}


class Work:
    """Goes on until it is let end; notes whether it was cancelled."""

    def __init__(self) -> None:
        self.begun, self.end = asyncio.Event(), asyncio.Event()
        self.cancelled = False

    async def run(self) -> str:
        self.begun.set()
        try:
            await self.end.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        return "done"


async def _ended_by_itself() -> None:
    line, work = Line(), Work()
    work.end.set()
    assert await unless_gone(asked(line.receive), work.run()) == "done"
    # Who leaves while the answer is sent ends nothing any more.
    line.gone.set()
    for _ in range(5):
        await asyncio.sleep(0)
    current = asyncio.current_task()
    assert current is not None
    assert current.cancelling() == 0


async def _ended_by_its_caller() -> None:
    line, work = Line(), Work()
    waiting = asyncio.ensure_future(unless_gone(asked(line.receive), work.run()))
    await work.begun.wait()
    line.gone.set()
    with pytest.raises(ClientDisconnect):
        await waiting
    assert work.cancelled


async def _left_and_late_at_once() -> None:
    line, work = Line(), Work()

    async def bounded() -> str:
        async with asyncio.timeout(None) as limit:
            line.gone.set()
            limit.reschedule(0)
            return await work.run()

    with pytest.raises((ClientDisconnect, TimeoutError)):
        await asyncio.ensure_future(unless_gone(asked(line.receive), bounded()))
    assert work.cancelled


async def _ended_from_outside() -> None:
    line, work = Line(), Work()
    waiting = asyncio.ensure_future(unless_gone(asked(line.receive), work.run()))
    await work.begun.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert work.cancelled
    assert waiting.cancelled()


async def _failing() -> None:
    async def fail() -> None:
        raise ValueError("no picture")

    with pytest.raises(ValueError, match="no picture"):
        await unless_gone(asked(Line().receive), fail())


async def _a_line_that_breaks() -> None:
    async def receive() -> Message:
        raise ConnectionResetError

    work = Work()
    with pytest.raises(ClientDisconnect):
        await asyncio.ensure_future(unless_gone(asked(receive), work.run()))
    assert work.cancelled


async def _the_rest_of_a_body() -> None:
    """What comes before the caller leaves is no leaving."""
    messages: list[Message] = [{"type": "http.request", "body": b"", "more_body": False}] * 3
    line, work = Line(), Work()

    async def receive() -> Message:
        return messages.pop() if messages else await line.receive()

    waiting = asyncio.ensure_future(unless_gone(asked(receive), work.run()))
    while not line.listened:
        await asyncio.sleep(0)
    work.end.set()
    assert await waiting == "done"


@pytest.mark.parametrize(
    "play",
    [
        _ended_by_itself,
        _ended_by_its_caller,
        _left_and_late_at_once,
        _ended_from_outside,
        _failing,
        _a_line_that_breaks,
        _the_rest_of_a_body,
    ],
)
def test_work_ends_with_its_caller_alone(play: Callable[[], Awaitable[None]]) -> None:
    async def run() -> None:
        async with asyncio.timeout(30) as limit:
            await play()
        # Work that nobody ended would be, and by the same word, by this time-out.
        assert not limit.expired()

    asyncio.run(run())
