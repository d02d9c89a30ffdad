"""Ids, sizes and the ends of requests."""

import socket
from collections.abc import Callable, Iterator

import httpx
import pytest
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse

from server.http import handlers
from server.http.middleware import BodyLimit, RequestContext
from server.telemetry import Telemetry

LIMIT = 1000


@pytest.fixture(scope="module")
def telemetry() -> Telemetry:
    return Telemetry()


@pytest.fixture(scope="module")
def client(telemetry: Telemetry, serve: Callable[[FastAPI], httpx.Client]) -> httpx.Client:
    app = FastAPI()

    @app.post("/raw")
    async def raw(request: Request) -> int:
        return len(await request.body())

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

    handlers.install(app)
    app.add_middleware(BodyLimit, limit_of=lambda path: LIMIT if path == "/raw" else 0)
    app.add_middleware(RequestContext, telemetry=telemetry)
    return serve(app)


def chunks(total: int) -> Iterator[bytes]:
    for begin in range(0, total, 100):
        yield b"x" * min(100, total - begin)


@pytest.mark.parametrize("size", [0, 1, LIMIT - 1, LIMIT])
def test_bodies_up_to_the_limit_pass(client: httpx.Client, size: int) -> None:
    assert client.post("/raw", content=b"x" * size).json() == size
    assert client.post("/raw", content=chunks(size)).json() == size


@pytest.mark.parametrize("size", [LIMIT + 1, 50 * LIMIT])
def test_larger_bodies_do_not(client: httpx.Client, size: int) -> None:
    declared = client.post("/raw", content=b"x" * size)
    counted = client.post("/raw", content=chunks(size))
    for answer in (declared, counted):
        assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
        assert str(LIMIT) in answer.json()["detail"]
    assert declared.headers["connection"] == "close"


def test_a_declared_length_is_refused_unread(client: httpx.Client) -> None:
    address = (client.base_url.host, client.base_url.port or 0)
    with socket.create_connection(address, timeout=10) as connection:
        connection.sendall(b"POST /raw HTTP/1.1\r\nHost: here\r\nContent-Length: 99999999999999\r\n\r\nnothing more")
        assert connection.recv(4096).startswith(b"HTTP/1.1 413 ")


def test_a_client_that_sends_on_still_gets_its_answer(client: httpx.Client) -> None:
    size = 64 * 2**20
    assert client.post("/raw", content=bytes(size)).status_code == 413
    assert client.post("/raw", content=(bytes(2**20) for _ in range(64))).status_code == 413


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
    text = telemetry.exposition().decode()
    assert 'detco_http_request_seconds_count{method="GET",route="/counted/{name}",status="200"} 2.0' in text
    assert 'route="unmatched",status="404"' in text
    assert "nowhere" not in text
