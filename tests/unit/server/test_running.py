"""Sockets, and the address that is told."""

import socket

import pytest

from server.running import Endpoint, listen, require_free

EVERYWHERE = ".".join("0000")


def test_port_0_takes_a_free_one() -> None:
    with listen("127.0.0.1", 0) as listener:
        url = Endpoint.of(listener).url
        assert url == f"http://127.0.0.1:{listener.getsockname()[1]}"
        assert not url.endswith(":0")


def test_a_taken_port_is_named() -> None:
    with listen("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{port}"), listen("127.0.0.1", port):
            pass
        with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{port}"):
            require_free("127.0.0.1", port)
    require_free("127.0.0.1", port)


@pytest.mark.parametrize(("host", "local"), [(EVERYWHERE, "127.0.0.1"), ("127.0.0.1", "127.0.0.1"), ("::1", "[::1]")])
def test_the_address_is_one_that_answers_here(host: str, local: str) -> None:
    if ":" in host and not socket.has_ipv6:
        pytest.skip("no IPv6")
    try:
        with listen(host, 0) as listener:
            assert Endpoint.of(listener).url == f"http://{local}:{listener.getsockname()[1]}"
    except OSError:
        if ":" not in host:
            raise
        pytest.skip("no IPv6 address on this machine")
