"""Sockets, the address that is told, and what the collector of garbage is left with once the service runs."""

import errno
import gc
import logging
import os
import re
import resource
import signal
import socket
import warnings
from collections.abc import Iterator
from threading import Thread

import httpx
import pytest
from fastapi import FastAPI

from server.running import _MOST_FILES, Endpoint, hush_pictures, listen, raise_file_limit, require_free, serve
from tests.log_lines import lines_of

EVERYWHERE = ".".join("0000")


def test_port_0_takes_a_free_one() -> None:
    with listen("127.0.0.1", 0) as listener:
        url = Endpoint.of(listener).url
        assert url == f"http://127.0.0.1:{listener.getsockname()[1]}"
        assert not url.endswith(":0")


def test_a_connection_whose_reader_takes_nothing_is_cut_by_the_kernel() -> None:
    with (
        listen("127.0.0.1", 0) as listener,
        socket.create_connection(listener.getsockname()) as caller,
        listener.accept()[0] as accepted,
    ):
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 120_000
        assert caller.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 0
        # As it does, sooner: the option is the kernel's to keep.
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1)
        accepted.settimeout(120)
        with pytest.raises(TimeoutError) as caught:
            accepted.sendall(bytes(2**28))
        if caught.value.errno is None and kernel() < (5, 11):
            pytest.skip("this kernel waits for good for who answers that there is no room; mended in 5.11")
        assert caught.value.errno == errno.ETIMEDOUT


def kernel() -> tuple[int, ...]:
    """Its version's first two numbers."""
    return tuple(map(int, re.findall(r"\d+", os.uname().release)[:2]))


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


def test_no_picture_writes_to_the_log(caplog: pytest.LogCaptureFixture) -> None:
    level = logging.getLogger("tifffile").level
    try:
        with warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always")
            hush_pictures()
            for module in ("PIL.TiffImagePlugin", "other"):
                warnings.warn_explicit("odd", UserWarning, "file.py", 1, module=module)
        logging.getLogger("tifffile").error("odd")
    finally:
        logging.getLogger("tifffile").setLevel(level)
    assert len(heard) == 1
    assert not lines_of(caplog, "tifffile")


@pytest.fixture
def afterwards() -> Iterator[None]:
    """This process gets back what a service in it takes over: signals, and what is set aside."""
    before = {sign: signal.getsignal(sign) for sign in (signal.SIGINT, signal.SIGTERM)}
    yield
    for sign, handler in before.items():
        signal.signal(sign, handler)
    gc.unfreeze()


@pytest.mark.usefixtures("afterwards")
def test_what_stays_is_set_aside_from_collections_before_the_first_request() -> None:
    app, counts = FastAPI(), list[int]()

    @app.get("/")
    async def root() -> None:
        counts.append(gc.get_freeze_count())
        signal.raise_signal(signal.SIGTERM)

    with listen("127.0.0.1", 0) as listener:
        caller = Thread(target=httpx.get, args=(Endpoint.of(listener).url,), kwargs={"timeout": 60})
        caller.start()
        serve(app, listener, None)
        caller.join()
    assert counts[0] > 0


def test_as_many_files_may_be_open_as_the_machine_allows() -> None:
    before = soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 512), hard))
        raise_file_limit()
        raised, same = resource.getrlimit(resource.RLIMIT_NOFILE)
        assert (raised, same) == (_MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_FILES), hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        raise_file_limit()
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] >= soft
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
