"""Bodies: bounded one by one and all together, and a clear answer to whoever sends too much."""

import socket
import time
from collections.abc import Callable, Iterator
from functools import partial

import httpx
import pytest
from fastapi import FastAPI, Request

from server.http.errors import handlers
from server.http.middleware import bodies
from server.http.middleware.bodies import BodyLimit
from server.http.middleware.context import RequestContext
from server.telemetry import Telemetry

LIMIT, TOGETHER = 1000, 1500


@pytest.fixture(scope="module")
def told() -> list[Exception]:
    """Of bodies that found no room."""
    return []


@pytest.fixture(scope="module")
def client(serve: Callable[[FastAPI], httpx.Client], told: list[Exception]) -> httpx.Client:
    app = FastAPI()

    @app.post("/raw")
    @app.post("/held")
    async def raw(request: Request) -> int:
        return len(await request.body())

    handlers.install(app)
    held = partial(str.__eq__, "/held")
    app.add_middleware(BodyLimit, limit_of=lambda _: LIMIT, is_held=held, capacity=TOGETHER, refused=told.append)
    app.add_middleware(RequestContext, telemetry=Telemetry())
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
    with socket.create_connection(address, timeout=60) as connection:
        connection.sendall(b"POST /raw HTTP/1.1\r\nHost: here\r\nContent-Length: 99999999999999\r\n\r\nnothing more")
        assert connection.recv(4096).startswith(b"HTTP/1.1 413 ")


def test_a_client_that_sends_on_still_gets_its_answer(client: httpx.Client) -> None:
    size = 64 * 2**20
    assert client.post("/raw", content=bytes(size)).status_code == 413
    assert client.post("/raw", content=(bytes(2**20) for _ in range(64))).status_code == 413


def test_what_is_held_of_all_bodies_is_bounded(client: httpx.Client, told: list[Exception]) -> None:
    address = (client.base_url.host, client.base_url.port or 0)
    head = f"POST /held HTTP/1.1\r\nHost: here\r\nContent-Length: {LIMIT}\r\n\r\n".encode()
    with socket.create_connection(address, timeout=60) as slow:
        slow.sendall(head + b"x" * 900)
        give_up = time.monotonic() + 120
        while (answer := client.post("/held", content=b"x" * 700)).status_code == 200:
            assert time.monotonic() < give_up, "the slow one's bytes have not come"
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "2")
        assert "900 bytes of other requests" in answer.json()["detail"]
        assert [type(error).__name__ for error in told] == ["TooManyBytes"]
        assert client.post("/held", content=b"x" * 600).json() == 600
        assert client.post("/raw", content=b"x" * 700).json() == 700
        slow.sendall(b"x" * 100)
        assert slow.recv(4096).startswith(b"HTTP/1.1 200 ")
        assert client.post("/held", content=b"x" * LIMIT).json() == LIMIT


def test_one_body_always_finds_room_and_what_was_held_is_given_back() -> None:
    memory = bodies.Memory(10)
    assert memory.take(50)
    assert not memory.take(1)
    memory.held -= 50
    assert memory.take(10)
    assert not memory.take(1)


@pytest.mark.parametrize("path", ["/raw", "/held"])
def test_a_body_that_stalls_is_given_up_and_its_connection_closed(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    url = client.base_url
    with monkeypatch.context() as short:
        short.setattr(bodies, "_STALL_SECONDS", 0.05)
        with socket.create_connection((url.host, url.port or 80), timeout=60) as connection:
            head = f"POST {path} HTTP/1.1\r\nHost: here\r\nContent-Length: 700\r\n\r\n"
            connection.sendall(f"{head}only this".encode())
            answer = b"".join(iter(lambda: connection.recv(2**16), b""))
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'"request_timeout"' in answer
    # What was held of it is given back.
    assert client.post("/held", content=b"x" * LIMIT).json() == LIMIT
