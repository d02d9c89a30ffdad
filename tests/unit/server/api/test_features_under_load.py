"""The feature path over real sockets when more comes than it can do: hang-ups, bursts, bulk, shares of tokens."""

import io
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import FastAPI
from PIL import Image

from server.app import make_app
from server.features.engine import FeatureEngine
from server.http.deps import Services


def picture() -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8)).save(file, "JPEG")
    return file.getvalue()


class Held:
    """A batch that computes when it may."""

    def __init__(self, staged: Any, go_on: threading.Event) -> None:
        self._staged, self._go_on = staged, go_on
        self.provider = staged.provider

    def compute(self) -> Any:
        assert self._go_on.wait(60)
        return self._staged.compute()


class Loaded:
    """A served application whose only model can be held up."""

    def __init__(self, engine: FeatureEngine, client: httpx.Client) -> None:
        self.engine = engine
        self.client = client
        (self.model,) = engine.models.loaded()
        self.owner = self.model.owner
        self._go_on = threading.Event()
        self._stage, self._session = self.owner._session.stage, self.owner._session

    @contextmanager
    def held_up(self) -> Iterator[None]:
        """Nothing that computes comes to an end for as long as the block runs."""
        self._go_on.clear()
        self.owner._session = self
        try:
            yield
        finally:
            self._go_on.set()
            self.owner._session = self._session

    def stage(self, arrays: Any, outputs: Any) -> "Held":
        return Held(self._stage(arrays, outputs), self._go_on)

    def begin(self, path: str = "/features", **headers: str) -> socket.socket:
        """Send a whole request, and wait for nothing."""
        url, body = self.client.base_url, picture()
        lines = [f"POST {path} HTTP/1.1", f"Host: {url.host}", f"Content-Length: {len(body)}", "Connection: close"]
        given = {"Content-Type": "image/jpeg", "Authorization": self.client.headers["authorization"]} | headers
        lines += [f"{name}: {value}" for name, value in given.items()]
        connection = socket.create_connection((url.host, url.port or 80), timeout=60)
        connection.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        return connection

    def ask(self, **query: Any) -> httpx.Response:
        headers = {"Content-Type": "image/jpeg"}
        return self.client.post("/features", params=query, content=picture(), headers=headers)

    def until(self, condition: Callable[[], bool]) -> None:
        give_up = time.monotonic() + 120
        while not condition():
            assert time.monotonic() < give_up, "it never came to hold"
            time.sleep(0.005)


def answer_of(connection: socket.socket) -> tuple[int, bytes]:
    """Status and everything that came."""
    with connection:
        data = b"".join(iter(lambda: connection.recv(2**16), b""))
    return int(data.split(b" ", 2)[1]), data


@pytest.fixture(scope="module")
def loaded(house: Any, admin: httpx.Client, run: str, serve: Callable[[FastAPI], httpx.Client]) -> Loaded:
    """64 images at once, 20 of them bulk; a token that may use all of it."""
    assert admin.post("/v1/models/tiny/versions", json={"run": run}).status_code == 202
    house.export(0)
    assert admin.put("/v1/models/tiny/aliases/production", json={"version": 1}).status_code == 200
    app = make_app(house.settings.model_copy(update={"max_bulk_images_under_way": 20}), ["features"])
    client = serve(app)
    client.headers["Authorization"] = house.client("features").headers["authorization"]
    while client.get("/readyz/features").status_code != 200:
        time.sleep(0.01)
    services: Services = app.state.services
    assert services.features is not None
    return Loaded(services.features, client)


@pytest.mark.parametrize(
    ("path", "headers"),
    [("/features", {}), ("/v2/models/tiny/infer", {"Inference-Header-Content-Length": "0"})],
)
def test_sixty_callers_who_hang_up_cost_nothing(loaded: Loaded, path: str, headers: dict[str, str]) -> None:
    before = loaded.owner.computed
    with loaded.held_up():
        with ExitStack() as stack:
            for _ in range(60):
                stack.enter_context(loaded.begin(path, **headers))
            loaded.until(lambda: loaded.engine.admission.images == 60)
        loaded.until(lambda: loaded.engine.admission.images == 0)
        assert loaded.engine.memory.held == 0
    assert loaded.ask().status_code == 200
    # The one that was being computed, and the one just now.
    assert loaded.owner.computed - before <= 2


def test_of_a_burst_as_many_as_fit_are_answered_and_the_rest_told_when_to_come_back(loaded: Loaded) -> None:
    refused = loaded.engine.admission.refused
    with loaded.held_up():
        calls = [loaded.begin() for _ in range(150)]
        loaded.until(lambda: loaded.engine.admission.refused == refused + 86)
    answers = [answer_of(call) for call in calls]
    assert sorted(status for status, _ in answers) == [200] * 64 + [429] * 86
    for status, data in answers:
        if status == 429:
            assert b"retry-after: " in data.lower()
            assert b'"code":"overloaded"' in data
    text = loaded.client.get("/metrics").text
    assert 'detco_feature_errors_total{cause="Overloaded"}' in text


def test_bulk_is_let_in_as_long_as_there_is_room_and_gives_way(loaded: Loaded) -> None:
    with loaded.held_up():
        bulk = [loaded.begin("/features?priority=bulk") for _ in range(25)]
        loaded.until(lambda: loaded.engine.admission.images == 20)
        interactive = [loaded.begin() for _ in range(60)]
        loaded.until(lambda: loaded.engine.admission.images == 64)
        loaded.until(lambda: loaded.engine.admission.shed == 16)
    assert [answer_of(call)[0] for call in interactive] == [200] * 60
    answers = [answer_of(call) for call in bulk]
    assert sorted(status for status, _ in answers) == [200] * 4 + [429] * 21
    assert sum(b'"code":"shed"' in data for _, data in answers) == 16
    assert 'detco_feature_errors_total{cause="Shed"} 16.0' in loaded.client.get("/metrics").text


def test_a_token_with_its_share_is_told_which_bound_it_met(loaded: Loaded, admin: httpx.Client, house: Any) -> None:
    body = {"name": "small", "scopes": ["features"], "quota": {"images": 1, "pixels_per_second": 20}}
    bearer = {"Authorization": f"Bearer {admin.post('/v1/tokens', json=body).json()['token']}"}
    with loaded.held_up():
        first = loaded.begin(**bearer)
        loaded.until(lambda: loaded.engine.admission.images == 1)
        status, data = answer_of(loaded.begin(**bearer))
        assert (status, b'"limit":"images"' in data, b'"code":"token_limit"' in data) == (429, True, True)
        other = loaded.begin()
    assert [answer_of(call)[0] for call in (first, other)] == [200, 200]
    status, data = answer_of(loaded.begin(**bearer))
    assert (status, b'"limit":"pixels_per_second"' in data, b"retry-after: 1" in data) == (429, True, True)
    status, data = answer_of(
        loaded.begin("/v2/models/tiny/infer", **bearer, **{"Inference-Header-Content-Length": "0"})
    )
    assert (status, b"pixels a second" in data) == (503, True)
    assert loaded.ask().status_code == 200
