"""The stub of the API over real sockets, as new for each test."""

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import uvicorn

from detco_client import download, stream, transport, waiting
from tests.unit.client.stub.app import make_app
from tests.unit.client.stub.state import State


@dataclass
class Service:
    url: str
    state: State


@pytest.fixture(scope="session")
def running() -> Iterator[Service]:
    state = State()
    config = uvicorn.Config(make_app(state), host="127.0.0.1", port=0, log_config=None, lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        thread.join(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield Service(f"http://127.0.0.1:{port}", state)
    server.should_exit = True
    thread.join(5)


@pytest.fixture
def service(running: Service, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Service:
    """The service as new, named by the environment; pauses are short."""
    running.state.__init__()  # type: ignore[misc] # every field back to its default
    running.state.sha256 = "sha256:" + hashlib.sha256(running.state.file).hexdigest()
    for variable in ("DETCO_TOKEN_FILE", "DETCO_DATA_DIR"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DETCO_URL", running.url)
    monkeypatch.setenv("DETCO_TOKEN", "secret")
    monkeypatch.setattr(transport, "PAUSES", (0.0, 0.0, 0.0))
    monkeypatch.setattr(download, "PAUSES", (0.0, 0.0, 0.0))
    monkeypatch.setattr(stream, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(waiting, "PAUSE_SECONDS", 0.0)
    return running
