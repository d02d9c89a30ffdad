"""One connection of this process is cut, by its other end."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from server.rpc.cutting import cut


@pytest.fixture(params=["127.0.0.1", "::1", "::ffff:127.0.0.1"])
def pairs(request: pytest.FixtureRequest) -> Iterator[list[tuple[socket.socket, socket.socket]]]:
    """Two connections: the callers' ends and ours."""
    host, family = request.param, socket.AF_INET6 if ":" in request.param else socket.AF_INET
    with ExitStack() as stack:
        try:
            listener = stack.enter_context(socket.socket(family))
            listener.bind((host, 0))
        except OSError:
            if family is socket.AF_INET:
                raise
            pytest.skip("no IPv6 on this machine")
        listener.listen()
        made = []
        for _ in range(2):
            theirs = stack.enter_context(socket.socket(family))
            theirs.settimeout(60)
            theirs.connect(listener.getsockname())
            made.append((theirs, stack.enter_context(listener.accept()[0])))
        yield made


def peer(theirs: socket.socket) -> str:
    """As gRPC names it."""
    host, port = theirs.getsockname()[:2]
    host = host.removeprefix("::ffff:")
    return f"ipv6:%5B{host}%5D:{port}" if ":" in host else f"ipv4:{host}:{port}"


def test_that_one_and_no_other(pairs: list[tuple[socket.socket, socket.socket]]) -> None:
    (one, _), (other, ours) = pairs
    assert cut(peer(one))
    assert one.recv(1) == b""
    other.sendall(b"x")
    assert ours.recv(1) == b"x"


def test_one_that_is_not_there_is_no_error(pairs: list[tuple[socket.socket, socket.socket]]) -> None:
    (theirs, ours), _ = pairs
    name = peer(theirs)
    ours.close()
    theirs.close()
    assert not cut(name)
    assert not cut("unix:/run/here")
