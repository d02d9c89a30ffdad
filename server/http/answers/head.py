"""HEAD wherever GET answers (RFC 9110, section 9.3.2): the same status and headers, and no body.

The routes know GET only. What they would send is asked for and cut off behind its headers, so that a file is opened but
not read to its end, and a stream ends at once.
"""

import anyio
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_LEARNED = ("route", "endpoint", "path_params")
"""What the router writes into a scope, and those around it read."""
_CUT_SECONDS = 0.1
"""An answer that goes on is given this long between two pieces to notice that nobody reads."""


class Head:
    """Has the application answer a HEAD as a GET of the same resource, without `Range`, which is of GETs alone."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self.app(scope, receive, send)
            return
        answer = _Answer(send)
        asked = _as_get(scope)
        await self.app(asked, answer.receive, answer.send)
        scope.update({name: asked[name] for name in _LEARNED if name in asked})


def _as_get(scope: Scope) -> Scope:
    headers = [(name, value) for name, value in scope["headers"] if name.lower() != b"range"]
    # By this version of the protocol a streamed answer listens for the caller's leaving while it is sent.
    protocol = {**scope.get("asgi", {}), "spec_version": "2.3"}
    return {**scope, "method": "GET", "headers": headers, "asgi": protocol}


class _Answer:
    """A caller who takes the headers and hangs up."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._asked = False
        self._answered = anyio.Event()

    async def receive(self) -> Message:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._answered.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            await self._send(message)
            await self._send({"type": "http.response.body", "body": b""})
            self._answered.set()
        elif message.get("more_body"):
            await anyio.sleep(_CUT_SECONDS)
