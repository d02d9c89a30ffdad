"""One connection, as uvicorn keeps it, and what uvicorn leaves open to anyone who can reach the port, without a token:
the head of a request is bounded in bytes and in time, and bytes that are no HTTP are answered as every other mistake.
"""

import asyncio
import uuid
from typing import Any

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from server.http.problems import Problem, render, request_id

HEAD_BYTES = 2**17
"""Of a request's address and headers; an address may hold 64 KB of boxes."""
_RUN_OUT_SECONDS = 30.0
"""How long we listen to who was refused: one who is still sending when we hang up would get a reset for an answer."""


class Connection(HttpToolsProtocol):
    """Takes requests whose head is whole in time and of a size that can be kept.

    An `Upgrade` is declined by doing what was asked over HTTP/1.1 (RFC 9110, section 7.8). Clients that could speak
    HTTP/2 offer it with every request (`curl --http2`, Java's HttpClient); the parser takes what follows such a head
    for another protocol, and the body would be lost.
    """

    head_seconds = 30.0
    """That a head may take, from the connection or from its first byte on; as long as a body may stand still."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._in_head, self._refused = True, False
        self._chunk = self._received = 0
        """Bytes that came last, and those of a head that is not whole."""
        self._too_late: asyncio.TimerHandle | None = None
        self.url = b""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_is_there()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        self._unset_keepalive_if_required()
        self._chunk = len(data)
        try:
            self.parser.feed_data(data)
        except HttpParserUpgrade as offered:
            self._decline(data[offered.args[0] :])
        except HttpParserError as error:
            known = error.__context__
            self._refuse(known if isinstance(known, Problem) else Problem("bad_request", "this is no HTTP request"))
        else:
            self._watch_head()

    def on_headers_complete(self) -> None:
        if self._offers_upgrade():
            return
        _check(len(self.url) + sum(len(name) + len(value) for name, value in self.headers))
        self._head_is_there()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        if self._offers_upgrade():
            return
        super().on_message_complete()
        # What came with a body's end is not counted as the next head's.
        self._in_head, self._received = True, -self._chunk

    def _offers_upgrade(self) -> bool:
        if not self.parser.should_upgrade():
            return False
        if self.parser.get_method() == b"CONNECT":
            raise Problem("method_not_allowed", "this is no proxy: there is no CONNECT")
        return True

    def _decline(self, rest: bytes) -> None:
        """Read the request again without its offer."""
        version = self.parser.get_http_version().encode()
        lines = [b"%s %s HTTP/%s" % (self.parser.get_method(), self.url, version)]
        lines += [b"%s: %s" % header for header in self.headers if header[0] != b"upgrade"]
        self.parser = HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's own
        self.data_received(b"\r\n".join(lines) + b"\r\n\r\n" + rest)

    def _watch_head(self) -> None:
        """Count what came, and see that the rest comes, where a head has begun that is not whole."""
        if not self._in_head:
            return
        self._received += self._chunk
        if not self._received:
            return
        if self._too_late is None:
            self._await_head()
        try:
            _check(self._received)
        except Problem as problem:
            self._refuse(problem)

    def _await_head(self) -> None:
        self._too_late = self.loop.call_later(self.head_seconds, self._give_up)

    def _head_is_there(self) -> None:
        self._in_head = False
        if self._too_late is not None:
            self._too_late.cancel()
            self._too_late = None

    def _give_up(self) -> None:
        if self._is_answering():
            self._await_head()  # the answer to the request before it comes first
        elif self._received:
            detail = f"the request's headers were not whole after {self.head_seconds:g} s"
            self._refuse(Problem("request_timeout", detail))
        else:
            self.transport.close()

    def _refuse(self, problem: Problem) -> None:
        """Answer what no application can, and hang up."""
        path = self.url.partition(b"?")[0].decode("latin-1")
        # None of the request's own was read.
        scope: Scope = {"type": "http", "path": path, "state": {"request_id": uuid.uuid4().hex}}
        response = render(problem, scope)
        response.headers["X-Request-Id"] = request_id(scope)
        lines = [b"%s: %s" % header for header in response.raw_headers]
        head = STATUS_LINE[response.status_code] + b"\r\n".join([*lines, b"connection: close"])
        self.transport.write(head + b"\r\n\r\n" + bytes(response.body))
        self._refused = True
        self._head_is_there()
        if self._is_answering():
            self.transport.close()
            return
        self.transport.write_eof()
        self._too_late = self.loop.call_later(_RUN_OUT_SECONDS, self.transport.close)

    def _is_answering(self) -> bool:
        # None before the first request, whatever uvicorn's annotation says.
        return self.cycle is not None and not self.cycle.response_complete  # type: ignore[redundant-expr]


def _check(size: int) -> None:
    if size > HEAD_BYTES:
        raise Problem("head_too_large", f"the request's address and headers have more than {HEAD_BYTES} bytes")
