"""Runs the application on a socket until a signal ends it, and the worker beside it."""

import gc
import logging
import resource
import signal
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

import uvicorn
from fastapi import FastAPI

from server.connection import Connection
from server.supervision import Supervisor

_DRAIN_SECONDS = 15
"""Requests under way may take this long to end once the service was asked to: as many images as may be under way, at
a quarter of a second each. What is cut off then is told so (`http/middleware/context`)."""
_BACKLOG = 2048
_STALLED_MS = 120_000
"""A connection whose other side takes nothing of what is sent for so long is cut, by the kernel."""
_MOST_FILES = 65_536


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the service can be reached from this machine."""

    url: str

    @classmethod
    def of(cls, listener: socket.socket) -> "Endpoint":
        host, port = listener.getsockname()[:2]
        local = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - read, not bound to
        return cls(f"http://{f'[{local}]' if ':' in local else local}:{port}")


@contextmanager
def listen(host: str, port: int) -> Iterator[socket.socket]:
    """A listening socket; port 0 takes a free one. Raises `OSError` naming the address."""
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    try:
        listener = socket.create_server(address[:2], family=family, backlog=_BACKLOG)
    except OSError as error:
        raise OSError(error.errno, f"cannot listen on {host}:{port}: {error.strerror}") from error
    # Every connection that is accepted has it from here.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _STALLED_MS)
    with listener:
        yield listener


def require_free(host: str, port: int) -> None:
    """Raise `OSError` unless something may listen there soon: said before anything has begun."""
    with listen(host, port):
        pass


def raise_file_limit() -> None:
    """Let this process, and those it starts, open as many files as may be: each connection is one, and shells and
    systemd give 1,024 until they are asked.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def serve(app: FastAPI, listener: socket.socket, supervisor: Supervisor | None) -> None:
    """Serve until SIGINT or SIGTERM; then requests end, the worker puts its jobs back, and all of it is gone."""
    config = uvicorn.Config(
        app,
        http=Connection,
        log_config=None,
        access_log=False,
        ws="none",
        server_header=False,
        timeout_graceful_shutdown=_DRAIN_SECONDS,
    )
    server = _Server(config, supervisor)
    hush_pictures()
    for sign in (signal.SIGINT, signal.SIGTERM):
        # From here on, also before uvicorn has put its own handlers up and after it has taken them down.
        signal.signal(sign, server.handle_exit)
    try:
        if supervisor is not None:
            supervisor.start()
        server.run(sockets=[listener])
    finally:
        if supervisor is not None:
            supervisor.stop()


def hush_pictures() -> None:
    """Let no picture write to the log: its answer says what is wrong with it.

    Pillow 12 warns of every odd entry of a file in a line of its own, and tifffile logs them: a request of 60 KB made
    a megabyte.
    """
    warnings.filterwarnings("ignore", module=r"PIL\.")
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)


def set_aside() -> None:
    """Let no collection of garbage look again at what is there by now, and stays: modules, routes, schemas.

    These are some 230,000 objects of the API, and each full collection stopped all requests for 100 ms to go through
    them; what requests leave behind takes 6 to 9 ms (docs/decisions/196).
    """
    gc.collect()  # what is garbage now would never be collected
    gc.freeze()


class _Server(uvicorn.Server):
    """Sets aside what starting has made; asks the worker to end at the same moment as the requests."""

    def __init__(self, config: uvicorn.Config, supervisor: Supervisor | None) -> None:
        super().__init__(config)
        self._supervisor = supervisor

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        set_aside()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._supervisor is not None:
            self._supervisor.ask()
        super().handle_exit(sig, frame)
