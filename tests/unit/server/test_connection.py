"""What reaches the port before any application does: heads, offers of another protocol, and bytes that are no HTTP."""

import asyncio
import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from server.connection import HEAD_BYTES, Connection
from server.running import listen

HOST = b"Host: here\r\n"
UPGRADE = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n"
"""As `curl --http2` offers HTTP/2 with a request over HTTP/1.1."""
CLOSE = b"Connection: close\r\n"


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Tells what it was asked."""
    body = b""
    more = True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    if scope["path"] == "/slow":
        Impatient.begun.set()
        await asyncio.wait_for(Impatient.passed.wait(), 60)
    names = [name.decode() for name, _ in scope["headers"]]
    told = {"method": scope["method"], "path": scope["path"], "body": body.decode(), "headers": names}
    sent = json.dumps(told).encode()
    headers = [(b"content-length", str(len(sent)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": sent})


class Impatient(Connection):
    """Waits for the rest of a head no longer than it must to be seen waiting."""

    begun = Event()
    """Set when `/slow` is asked."""
    passed: asyncio.Event
    """Set when a head was late; `/slow` waits for it."""

    def _await_head(self) -> None:
        self.head_seconds = 0.05 if self._received > 0 else 60.0
        super()._await_head()

    def _give_up(self) -> None:
        super()._give_up()
        self.passed.set()


class Idle(Connection):
    """Waits for no request."""

    head_seconds = 0.05


@contextmanager
def serving(connection: type[Connection]) -> Iterator[tuple[str, int]]:
    config = uvicorn.Config(app, http=connection, lifespan="off", log_config=None, ws="none", timeout_keep_alive=60)
    server = uvicorn.Server(config)
    with listen("127.0.0.1", 0) as listener:
        thread = Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield listener.getsockname()[:2]
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture(scope="module")
def address() -> Iterator[tuple[str, int]]:
    with serving(Connection) as found:
        yield found


def said(address: tuple[str, int], *pieces: bytes) -> bytes:
    """All that comes back until the other side hangs up."""
    with socket.create_connection(address, timeout=60) as connection:
        for piece in pieces:
            connection.sendall(piece)
        return b"".join(iter(lambda: connection.recv(2**16), b""))


def told(answer: bytes) -> dict[str, Any]:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK"), answer
    document: dict[str, Any] = json.loads(body)
    return document


def refused(answer: bytes) -> tuple[int, str]:
    """Status and code of a problem document, after which the connection ends."""
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    assert b"content-type: application/problem+json" in lines
    assert b"connection: close" in lines
    assert b"content-length: %d" % len(body) in lines
    document = json.loads(body)
    assert document["status"] == int(head.split()[1])
    assert f"x-request-id: {document['request_id']}".encode() in lines
    return document["status"], document["code"]


@pytest.mark.parametrize("cut", [None, -5, -2, 40])
def test_an_offered_upgrade_costs_no_body(address: tuple[str, int], cut: int | None) -> None:
    head = b"POST /a?b=c HTTP/1.1\r\n" + HOST + UPGRADE + b"Content-Length: 5\r\n\r\n"
    data = head + b"hello" + b"GET /next HTTP/1.1\r\n" + HOST + CLOSE + b"\r\n"
    pieces = (data,) if cut is None else (data[: len(head) + 5 + cut], data[len(head) + 5 + cut :])
    first, _, second = said(address, *pieces).partition(b"}HTTP/1.1")
    one, other = told(first + b"}"), told(b"HTTP/1.1" + second)
    assert (one["method"], one["path"], one["body"]) == ("POST", "/a", "hello")
    assert "upgrade" not in one["headers"]
    assert {"host", "http2-settings", "content-length"} <= set(one["headers"])
    assert (other["method"], other["path"], other["body"]) == ("GET", "/next", "")


def test_a_chunked_body_behind_an_offer(address: tuple[str, int]) -> None:
    upgrade = b"Connection: close, Upgrade\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = said(address, b"PUT / HTTP/1.1\r\n" + HOST + upgrade, b"3\r\nabc\r\n", b"0\r\n\r\n")
    assert told(answer)["body"] == "abc"


def test_a_head_of_the_most_bytes_is_taken_and_of_more_not(address: tuple[str, int]) -> None:
    begun = b"GET /most HTTP/1.1\r\n" + HOST + CLOSE + b"X: "
    end = b"\r\n\r\n"
    most = begun + b"x" * (HEAD_BYTES - len(begun) - len(end)) + end
    assert told(said(address, most))["path"] == "/most"
    # The least that is too much once it is whole, and what is too much before.
    for more in (HEAD_BYTES, 2**22):
        assert refused(said(address, begun + b"x" * more + end)) == (431, "head_too_large")


def test_a_head_that_does_not_end_is_not_kept(address: tuple[str, int]) -> None:
    begun = b"GET / HTTP/1.1\r\n" + HOST + b"X: "
    assert refused(said(address, begun, b"x" * HEAD_BYTES)) == (431, "head_too_large")


def test_the_end_of_a_body_is_not_counted_as_the_next_head(address: tuple[str, int]) -> None:
    body = b"b" * (HEAD_BYTES + 10)
    first = b"POST /one HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n\r\n" % len(body) + body
    answer = said(address, first + b"GET /two HT", b"TP/1.1\r\n" + HOST + CLOSE + b"\r\n")
    assert answer.count(b"HTTP/1.1 200 OK") == 2
    assert b'"path": "/two"' in answer


@pytest.mark.parametrize(
    "junk",
    [b"\x16\x03\x01\x02\x00\r\n\r\n", b"BREW / HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n"],
)
def test_what_is_no_http_is_answered_as_other_mistakes(address: tuple[str, int], junk: bytes) -> None:
    assert refused(said(address, junk)) == (400, "bad_request")


def test_there_is_no_tunnel(address: tuple[str, int]) -> None:
    assert refused(said(address, b"CONNECT there:443 HTTP/1.1\r\n" + HOST + b"\r\n")) == (405, "method_not_allowed")


def test_the_protocols_clients_hear_of_it_in_their_words(address: tuple[str, int]) -> None:
    head = b"POST /v2/models/m/infer HTTP/1.1\r\n" + HOST + b"Content-Length: -1\r\n\r\n"
    line, _, body = said(address, head).partition(b"\r\n\r\n")
    assert line.startswith(b"HTTP/1.1 400 ")
    assert json.loads(body) == {"error": "this is no HTTP request"}


def test_who_says_nothing_is_hung_up_on() -> None:
    with serving(Idle) as address:
        assert said(address) == b""


def test_a_head_that_does_not_go_on_is_given_up() -> None:
    Impatient.passed = asyncio.Event()
    with serving(Impatient) as address, socket.create_connection(address, timeout=60) as connection:
        connection.sendall(b"GET /one HTTP/1.1\r\n" + HOST + b"\r\n")
        answer = b""
        while not answer.endswith(b"}"):
            answer += connection.recv(2**16)
        assert told(answer)["path"] == "/one"
        connection.sendall(b"GET / HTTP/1.1\r\nHost: h")
        assert refused(b"".join(iter(lambda: connection.recv(2**16), b""))) == (408, "request_timeout")


def test_an_answer_comes_before_the_next_head_is_given_up() -> None:
    Impatient.passed = asyncio.Event()
    with serving(Impatient) as address, socket.create_connection(address, timeout=60) as connection:
        connection.sendall(b"GET /slow HTTP/1.1\r\n" + HOST + b"\r\n")
        assert Impatient.begun.wait(60)
        connection.sendall(b"GET /next HT")
        answer = b"".join(iter(lambda: connection.recv(2**16), b""))
    first, _, second = answer.partition(b"}HTTP/1.1")
    assert told(first + b"}")["path"] == "/slow"
    assert refused(b"HTTP/1.1" + second) == (408, "request_timeout")
