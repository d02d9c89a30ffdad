"""Bodies of requests: bounded one by one, and all that are held in memory together."""

import asyncio
from collections.abc import Callable

import anyio
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.http.problems import BodyStalled, BodyTooLarge, Problem, TooManyBytes, render

DOCUMENT_BYTES = 2**20
"""Of any body that is not images."""
HELD_BYTES = 2**30
"""Of all bodies with images that have come and are not answered yet."""
_STALL_SECONDS = 30.0
"""A body of which nothing comes for this long is given up: what came of it takes memory, and a file descriptor."""
_RUN_OUT_SECONDS, _RUN_OUT_BYTES = 30.0, 2**30
"""How long, and how much of it, we listen to a body that was refused."""


class BodyLimit:
    """Refuses a body over the route's limit: by its `Content-Length` before a byte is read, else while it streams."""

    def __init__(
        self,
        app: ASGIApp,
        limit_of: Callable[[str], int],
        is_held: Callable[[str], bool],
        capacity: int = HELD_BYTES,
        refused: Callable[[Exception], None] = lambda error: None,
    ) -> None:
        """`limit_of` gives the limit in bytes for a path; bodies of which `is_held` are kept in memory until they are
        answered, and count against `capacity` together; `refused` is told of those that found no room.
        """
        self.app = app
        self.limit_of = limit_of
        self.is_held = is_held
        self.memory = Memory(capacity)
        self.refused = refused

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        memory = self.memory if self.is_held(scope["path"]) else None
        body = _Body(receive, send, self.limit_of(scope["path"]), memory, self.refused)
        declared = Headers(scope=scope).get("content-length", "0")
        if declared.isascii() and declared.isdigit() and int(declared[:20]) > body.limit:
            body.refused = True
            problem = Problem("body_too_large", BodyTooLarge(body.limit).detail, headers={"Connection": "close"})
            await render(problem, scope)(scope, receive, body.send)
            return
        try:
            await self.app(scope, body.receive, body.send)
        finally:
            body.forget()


class Memory:
    """Bytes of bodies that are held at once. Used from one event loop."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.held = 0

    def take(self, count: int) -> bool:
        """Hold so many more, if there is room; the first always finds some."""
        if self.held and self.held + count > self.capacity:
            return False
        self.held += count
        return True


class _Body:
    """A body that is counted as it comes, and let run out once it was refused.

    A client that is still sending when the connection closes would get a reset instead of our answer.
    """

    def __init__(
        self, receive: Receive, send: Send, limit: int, memory: Memory | None, refuse: Callable[[Exception], None]
    ) -> None:
        self._receive = receive
        self._send = send
        self.limit = limit
        self.refused = False
        self._memory = memory
        self._refuse = refuse
        self._held = 0
        self._taken = 0
        self._whole = False

    async def receive(self) -> Message:
        if self._whole:
            return await self._receive()
        try:
            async with asyncio.timeout(_STALL_SECONDS):
                message = await self._count()
        except TimeoutError as error:
            raise BodyStalled(_STALL_SECONDS) from error
        if self._taken > self.limit:
            self.refused = True
            raise BodyTooLarge(self.limit)
        self._hold(len(message.get("body", b"")))
        return message

    def forget(self) -> None:
        """Give the memory back."""
        if self._memory is not None:
            self._memory.held -= self._held
        self._held = 0

    def _hold(self, count: int) -> None:
        if self._memory is None:
            return
        if not self._memory.take(count):
            self.refused = True
            self.forget()
            error = TooManyBytes(self._memory.held)
            self._refuse(error)
            raise error
        self._held += count

    async def send(self, message: Message) -> None:
        if not self.refused or message["type"] != "http.response.body" or message.get("more_body"):
            await self._send(message)
            return
        await self._send({**message, "more_body": True})
        with anyio.move_on_after(_RUN_OUT_SECONDS):
            while not self._whole and self._taken < _RUN_OUT_BYTES:
                await self._count()
        await self._send({"type": "http.response.body", "body": b""})

    async def _count(self) -> Message:
        message = await self._receive()
        self._taken += len(message.get("body", b""))
        self._whole = not message.get("more_body")
        return message
