import time
from collections.abc import AsyncIterator, Callable, Iterator

import httpx
import pytest
from fastapi import FastAPI, Request
from fastapi.responses import Response, StreamingResponse
from sse_starlette import EventSourceResponse, ServerSentEvent

from server.http.answers.conditional import Conditional
from server.http.answers.files import StoredFile, send_file
from server.http.answers.head import Head
from server.http.errors import handlers
from server.http.middleware.context import RequestContext
from server.telemetry import Telemetry
from tests.waiting import wait_until

read: list[int] = []
"""How far the file was read."""


@pytest.fixture(scope="module")
def telemetry() -> Telemetry:
    return Telemetry()


@pytest.fixture(scope="module")
def client(telemetry: Telemetry, serve: Callable[[FastAPI], httpx.Client]) -> httpx.Client:
    app = FastAPI()

    @app.get("/things/{name}")
    def thing(name: str) -> dict[str, str]:
        return {"name": name}

    @app.get("/file")
    def file(request: Request) -> Response:
        def opened(start: int, end: int) -> Iterator[bytes]:
            for n in range(start, end, 1000):
                read.append(n)
                yield b"x" * min(1000, end - n)

        return send_file(request, StoredFile("f", 10_000_000, "sha256:1", "text/plain", opened))

    @app.get("/events")
    async def events() -> EventSourceResponse:
        async def endless() -> AsyncIterator[ServerSentEvent]:
            while True:
                yield ServerSentEvent("more")

        return EventSourceResponse(endless())

    @app.get("/deaf")
    def deaf() -> StreamingResponse:
        return StreamingResponse(iter([b"one", b"two"]))

    @app.get("/broken")
    def broken() -> None:
        raise ValueError

    @app.post("/made")
    def made() -> None: ...

    handlers.install(app)
    app.add_middleware(Conditional)
    app.add_middleware(Head)
    app.add_middleware(RequestContext, telemetry=telemetry)
    return serve(app)


@pytest.mark.parametrize("path", ["/things/a", "/file", "/nothing", "/broken"])
def test_the_headers_of_a_get_and_nothing_else(client: httpx.Client, path: str) -> None:
    got, asked = client.get(path), client.head(path)
    assert (asked.status_code, asked.content) == (got.status_code, b"")
    for name in ("content-length", "content-type", "etag", "accept-ranges", "cache-control"):
        assert asked.headers.get(name) == got.headers.get(name), name
    assert int(asked.headers["content-length"]) == len(got.content)


def test_a_file_is_not_read_to_its_end(client: httpx.Client) -> None:
    read.clear()
    assert client.head("/file").headers["content-length"] == "10000000"
    time.sleep(0.2)
    assert len(read) <= 2


def test_a_range_is_of_gets_alone(client: httpx.Client) -> None:
    answer = client.head("/file", headers={"Range": "bytes=1-2"})
    assert (answer.status_code, answer.headers["content-length"]) == (200, "10000000")


@pytest.mark.parametrize("path", ["/things/a", "/file"])
def test_what_the_caller_has_is_said(client: httpx.Client, path: str) -> None:
    tag = client.head(path).headers["etag"]
    assert client.head(path, headers={"If-None-Match": tag}).status_code == 304


def test_a_stream_ends_at_once(client: httpx.Client) -> None:
    for path in ("/events", "/deaf"):
        answer = client.head(path)
        assert (answer.status_code, answer.content) == (200, b"")
    # The same connection: its turn comes once the streams have ended, or never.
    assert client.get("/deaf").text == "onetwo"


def test_where_there_is_no_get_there_is_no_head(client: httpx.Client) -> None:
    answer = client.head("/made")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert client.put("/things/a").headers["allow"] == "GET, HEAD"


def test_it_is_counted_as_what_it_is(client: httpx.Client, telemetry: Telemetry) -> None:
    client.head("/things/counted")

    def counted() -> bool:
        lines = [line for line in telemetry.exposition().decode().splitlines() if 'method="HEAD"' in line]
        return any('route="/things/{name}"' in line and 'status="200"' in line for line in lines)

    wait_until(counted)  # a moment after its answer
