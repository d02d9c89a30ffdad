"""What surrounds every request: an id, a measured and logged end, a problem for what nobody caught, bounded bodies."""

import logging
import re
import time
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING

import anyio
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.http.access import AccessLog, note, notes, shortened
from server.http.exchange import Exchange
from server.http.problems import BodyTooLarge, Problem, render
from server.http.tracing import Tracing, trace_id
from server.telemetry import Telemetry

if TYPE_CHECKING:
    from opentelemetry.trace import Span

log = logging.getLogger(__name__)

DOCUMENT_BYTES = 2**20
"""Of any body that is not images."""
_RUN_OUT_SECONDS, _RUN_OUT_BYTES = 30.0, 2**30
"""How long, and how much of it, we listen to a body that was refused."""
_LAWFUL_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


class RequestContext:
    """Gives a request its id, logs and counts how it ended, and answers 500 for an error nobody made a problem of."""

    def __init__(
        self, app: ASGIApp, telemetry: Telemetry, access: AccessLog | None = None, tracing: Tracing | None = None
    ) -> None:
        self.app = app
        self.telemetry = telemetry
        self.access = access or AccessLog()
        self.tracing = tracing or Tracing()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        identity = identity_of(Headers(scope=scope).get("x-request-id", ""))
        scope.setdefault("state", {})["request_id"] = identity
        exchange = Exchange(receive, send, identity)
        began = time.perf_counter()
        with self.tracing.request(scope) as span:
            try:
                await self._serve(scope, exchange, identity)
            finally:
                self._end(scope, exchange, time.perf_counter() - began, span)

    async def _serve(self, scope: Scope, exchange: Exchange, identity: str) -> None:
        try:
            await self.app(scope, exchange.receive, exchange.send)
        except ClientDisconnect:
            exchange.status = exchange.status or 499
            note(scope, cause="caller_left")
        except Exception:
            log.exception("request %s failed: %s %s", identity, scope["method"], scope["path"])
            note(scope, cause="internal")
            if exchange.status:
                raise  # half an answer is out: let the server cut the connection
            detail = f"something broke here; the log has it under request id {identity}"
            await render(Problem("internal", detail), scope)(scope, exchange.receive, exchange.send)

    def _end(self, scope: Scope, exchange: Exchange, seconds: float, span: "Span | None") -> None:
        route, said = route_template(scope), notes(scope)
        self.telemetry.request(scope["method"], route, exchange.status, seconds)
        self.tracing.describe(span, scope, route, exchange.status, {"request_id": exchange.identity, **said})
        line = {"request_id": exchange.identity, "method": scope["method"], "route": route}
        line |= {"path": shortened(scope["path"]), "status": exchange.status, "ms": round(seconds * 1000, 3)}
        line |= {"bytes_in": exchange.bytes_in, "bytes_out": exchange.bytes_out, "trace": trace_id(span)}
        self.access.write({**line, **said})
        log.debug("%s %s -> %d in %.3f s", scope["method"], scope["path"], exchange.status, seconds)


def identity_of(sent: str) -> str:
    """The id of a request: the caller's own if it is a lawful one, else a new one."""
    return sent if _LAWFUL_ID.fullmatch(sent) else uuid.uuid4().hex


def route_template(scope: Scope) -> str:
    """The path with its parameters' names in place of their values: `/v1/runs/{job}`; `unmatched` for no route's."""
    if "route" not in scope:
        return "unmatched"
    names = {str(value): name for name, value in scope.get("path_params", {}).items()}
    return "/".join(f"{{{names[part]}}}" if part in names else part for part in str(scope["path"]).split("/"))


class BodyLimit:
    """Refuses a body over the route's limit: by its `Content-Length` before a byte is read, else while it streams."""

    def __init__(self, app: ASGIApp, limit_of: Callable[[str], int]) -> None:
        """`limit_of` gives the limit in bytes for a path."""
        self.app = app
        self.limit_of = limit_of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        body = _Body(receive, send, self.limit_of(scope["path"]))
        declared = Headers(scope=scope).get("content-length", "0")
        if declared.isascii() and declared.isdigit() and int(declared[:20]) > body.limit:
            body.refused = True
            problem = Problem("body_too_large", BodyTooLarge(body.limit).detail, headers={"Connection": "close"})
            await render(problem, scope)(scope, receive, body.send)
            return
        await self.app(scope, body.receive, body.send)


class _Body:
    """A body that is counted as it comes, and let run out once it was refused.

    A client that is still sending when the connection closes would get a reset instead of our answer.
    """

    def __init__(self, receive: Receive, send: Send, limit: int) -> None:
        self._receive = receive
        self._send = send
        self.limit = limit
        self.refused = False
        self._taken = 0
        self._whole = False

    async def receive(self) -> Message:
        message = await self._count()
        if self._taken > self.limit:
            self.refused = True
            raise BodyTooLarge(self.limit)
        return message

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
