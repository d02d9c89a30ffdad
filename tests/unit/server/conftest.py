"""A real uvicorn around an application under test, and a client that talks to it over a socket."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

Serve = Callable[[FastAPI], httpx.Client]


@contextmanager
def running(app: FastAPI) -> Iterator[str]:
    """The URL of `app`, served by uvicorn in a thread for as long as the block runs."""
    config = uvicorn.Config(app, log_config=None, ws="none", timeout_graceful_shutdown=2)
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        # A machine that is busy for some seconds is no database that hangs.
        if (services := getattr(app.state, "services", None)) is not None:
            services.patience._seconds = 120.0
        while not server.started and thread.is_alive():
            time.sleep(0.005)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture(scope="module")
def serve() -> Iterator[Serve]:
    """Serve an application until the module's tests end; gives a client with its address."""
    with ExitStack() as stack:

        def start(app: FastAPI) -> httpx.Client:
            url = stack.enter_context(running(app))
            return stack.enter_context(httpx.Client(base_url=url, timeout=30.0))

        yield start
