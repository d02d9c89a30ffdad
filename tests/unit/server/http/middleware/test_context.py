"""Ids and the ends of requests."""

import asyncio
import json
import re
import socket
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import uvloop
from fastapi import APIRouter, FastAPI
from fastapi.responses import StreamingResponse

from server.http.errors import handlers
from server.http.middleware.context import RequestContext
from server.telemetry import Telemetry
from tests.log_lines import lines_of
from tests.waiting import wait_until


@pytest.fixture(scope="module")
def telemetry() -> Telemetry:
    return Telemetry()


@pytest.fixture(scope="module")
def client(telemetry: Telemetry, serve: Callable[[FastAPI], httpx.Client]) -> httpx.Client:
    app = FastAPI()

    @app.get("/half")
    def half() -> StreamingResponse:
        def parts() -> Iterator[bytes]:
            yield b"one"
            raise ValueError("in the middle")

        return StreamingResponse(parts())

    @app.get("/counted/{name}")
    @app.get("/things/{name}")
    def thing(name: str) -> str:
        return name

    inner = APIRouter(prefix="/files")

    @inner.get("/{owner}/{rest:path}")
    def files(owner: str, rest: str) -> str:
        return owner + rest

    app.include_router(inner, prefix="/v9")
    handlers.install(app)
    app.add_middleware(RequestContext, telemetry=telemetry)
    return serve(app)


@pytest.mark.parametrize("sent", ["", "x" * 200, "a b", "é".encode().decode("latin-1"), "a\tb"])
def test_unlawful_request_ids_are_replaced(client: httpx.Client, sent: str) -> None:
    answer = client.get("/things/1", headers=[(b"X-Request-Id", sent.encode("latin-1"))])
    assert len(answer.headers["x-request-id"]) == 32


def test_an_answer_that_breaks_half_way_is_cut(client: httpx.Client) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        client.get("/half")


def test_requests_are_counted_by_template(client: httpx.Client, telemetry: Telemetry) -> None:
    client.get("/counted/1")
    client.get("/counted/2")
    client.get("/nowhere/at/all")
    # A request is counted a moment after its answer.
    wait_until(lambda: b'route="unmatched",status="404"' in telemetry.exposition())
    text = telemetry.exposition().decode()
    assert 'detco_http_request_seconds_count{method="GET",route="/counted/{name}",status="200"} 2.0' in text
    assert "nowhere" not in text


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_no_word_of_a_caller_becomes_a_label(client: httpx.Client, telemetry: Telemetry, method: str) -> None:
    for path in (
        "/v9/files/a/b/c",
        "/v9/files/junk/junk",
        "/v9/files/files/files",
        "/things/{name}",
        "/things/%7Bx%7D",
    ):
        assert client.request(method, path).status_code == (200 if method == "GET" else 405)
    found = re.findall(rf'_count{{method="{method}",route="([^"]*)"', telemetry.exposition().decode())
    assert {"/v9/files/{owner}/{rest}", "/things/{name}"} <= set(found)
    assert set(found) <= {"/v9/files/{owner}/{rest}", "/things/{name}", "/counted/{name}", "/half", "unmatched"}


def test_a_caller_who_closes_as_the_answer_begins_is_no_failure(caplog: pytest.LogCaptureFixture) -> None:
    """What uvloop's transports raise between their end and the word of it."""

    async def ask() -> None:
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        transport, line = await loop.create_connection(Line, sock=ours)
        transport.close()
        await line.lost.wait()

        async def answer(scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})

        async def receive() -> Any:
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            transport.write(b"HTTP/1.1 200 OK")

        scope = {"type": "http", "method": "GET", "path": "/things/1", "headers": []}
        with theirs:
            await RequestContext(answer, Telemetry())(scope, receive, send)

    uvloop.run(ask())
    assert not lines_of(caplog, "server.http", "asyncio")


class Line(asyncio.Protocol):
    def __init__(self) -> None:
        self.lost = asyncio.Event()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set()


def test_a_request_that_the_end_of_the_service_cuts_off_is_told_so() -> None:
    sent: list[Any] = []

    async def cut_off() -> None:
        begun = asyncio.Event()

        async def slow(*_: Any) -> None:
            begun.set()
            await asyncio.Event().wait()

        async def receive() -> Any:
            return {"type": "http.request", "body": b""}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "POST", "path": "/features", "headers": []}
        request = asyncio.create_task(RequestContext(slow, Telemetry())(scope, receive, send))
        await begun.wait()
        request.cancel()
        await request

    asyncio.run(cut_off())
    start, body = sent
    headers = dict(start["headers"])
    assert (start["status"], headers[b"retry-after"], headers[b"connection"]) == (503, b"1", b"close")
    assert json.loads(body["body"])["code"] == "ending"
    assert b"x-request-id" in headers
