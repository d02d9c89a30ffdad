"""What a client may do to a connection: requests on one another's heels, bodies announced, in pieces, or cut off."""

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from tests.integration.serving.conftest import Door

FORM = b'--B\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n%s\r\n'


@contextmanager
def line(door: Door) -> Iterator[socket.socket]:
    url = door.client.base_url
    with socket.create_connection((url.host, url.port or 80), timeout=60) as connection:
        yield connection


def head(door: Door, *headers: str, token: bool = True, kind: str = "image/png") -> bytes:
    authorization = [f"Authorization: {door.client.headers['authorization']}"] if token else []
    lines = ["POST /features HTTP/1.1", "Host: x", f"Content-Type: {kind}", *authorization, *headers]
    return "".join(f"{text}\r\n" for text in [*lines, ""]).encode()


def whole(door: Door, *headers: str) -> bytes:
    return head(door, f"Content-Length: {len(door.good)}", *headers) + door.good


def answers(connection: socket.socket) -> list[int]:
    """The status of each answer, once the server has closed the connection."""
    received = b""
    while piece := connection.recv(2**16):
        received += piece
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", received)]


def test_requests_on_one_anothers_heels(door: Door) -> None:
    with line(door) as connection:
        connection.sendall(whole(door) * 4 + whole(door, "Connection: close"))
        assert answers(connection) == [200] * 5


def test_a_body_is_called_for_when_it_is_wanted(door: Door) -> None:
    announced = ("Expect: 100-continue", f"Content-Length: {len(door.good)}", "Connection: close")
    with line(door) as connection:
        connection.sendall(head(door, *announced))
        assert connection.recv(2**16).startswith(b"HTTP/1.1 100 ")
        connection.sendall(door.good)
        assert answers(connection) == [200]
    with line(door) as connection:
        connection.sendall(head(door, *announced, token=False))
        assert answers(connection) == [401]


@pytest.mark.parametrize(
    ("size", "status"), [(b"3", [200]), (b"3;ext=1", [200]), (b"zz", [400]), (b"f" * 20, [400]), (b"-3", [400])]
)
def test_pieces_say_their_size(door: Door, size: bytes, status: list[int]) -> None:
    rest = door.good[3:]
    pieces = size + b"\r\n" + door.good[:3] + b"\r\n%x\r\n" % len(rest) + rest + b"\r\n0\r\n\r\n"
    with line(door) as connection:
        connection.sendall(head(door, "Transfer-Encoding: chunked", "Connection: close") + pieces)
        assert answers(connection) == status


@pytest.mark.parametrize("headers", [("Content-Length: 3", "Transfer-Encoding: chunked"), ("Content-Length: 3",) * 2])
def test_two_lengths_are_none(door: Door, headers: tuple[str, ...]) -> None:
    with line(door) as connection:
        connection.sendall(head(door, *headers, "Connection: close") + b"3\r\nabc\r\n0\r\n\r\n")
        assert answers(connection)[0] in (400, 415)


def test_a_caller_who_closes_his_side_harms_nobody(door: Door) -> None:
    """The loop closes the connection with it; what was asked for is dropped at whatever point it has reached."""
    for _ in range(10):
        with line(door) as connection:
            connection.sendall(whole(door) * 3)
            connection.shutdown(socket.SHUT_WR)
            with suppress(ConnectionError):  # it may be closed by a reset
                assert set(answers(connection)) <= {200}


@pytest.mark.parametrize("cut", [1, 4, 500])
def test_a_form_that_is_cut_off(door: Door, cut: int) -> None:
    """By whatever is in between, which then corrects the length."""
    form = FORM % door.good * 2 + b"--B--"
    kind = "multipart/form-data; boundary=B"
    door.refused(door.client.post("/features", content=form[:-cut], headers={"Content-Type": kind}), 400, "bad_request")
    assert door.client.post("/features", content=form, headers={"Content-Type": kind}).status_code == 200


@pytest.mark.parametrize(
    "extra",
    [
        b"\r\nX: " + b"a" * 300_000,
        b"".join(b"\r\nX-%d: 1" % n for n in range(30_000)),
        b"\r\nContent-Disposition: a; b",
    ],
    ids=["long", "many", "twice"],
)
def test_heads_of_a_part(door: Door, extra: bytes) -> None:
    form = FORM.replace(b"\r\n\r\n", extra + b"\r\n\r\n") % door.good + b"--B--\r\n"
    headers = {"Content-Type": "multipart/form-data; boundary=B"}
    answer = door.client.post("/features", content=form, headers=headers)
    assert answer.status_code in (400, 413, 422), answer.text
