"""What surrounds every request: an id, a measured and logged end, a problem for what nobody caught."""

import asyncio
import logging
import re
import secrets
import time
from typing import TYPE_CHECKING

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from server.http.access import AccessLog, note, notes, shortened
from server.http.middleware.exchange import Exchange
from server.http.middleware.tracing import Tracing, trace_id
from server.http.problems import Problem, render
from server.telemetry import Telemetry

if TYPE_CHECKING:
    from opentelemetry.trace import Span

log = logging.getLogger(__name__)

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
        except asyncio.CancelledError:
            # Only the end of the service cancels a request from outside; its caller is told.
            if exchange.status or (task := asyncio.current_task()) is None:
                raise
            task.uncancel()
            headers = {"Retry-After": "1", "Connection": "close"}
            detail = "this server is ending: send the request again, elsewhere"
            ending = Problem("unavailable", detail, code="ending", headers=headers)
            await render(ending, scope)(scope, exchange.receive, exchange.send)
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
    return sent if _LAWFUL_ID.fullmatch(sent) else secrets.token_hex(16)


def route_template(scope: Scope) -> str:
    """The path with its parameters' names in place of their values: `/v1/runs/{job}`; `unmatched` for no route's.

    Never a word that a caller chose: it is a label of metrics, and each new one would be kept for good.
    """
    template, path = getattr(scope.get("route"), "path_format", None), str(scope["path"])
    if template is None:
        return "unmatched"
    # A route knows itself without the prefix that its router was included under.
    own = template.format_map(scope.get("path_params", {}))
    return path.removesuffix(own) + template if path.endswith(own) else "unmatched"
