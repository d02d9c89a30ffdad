"""Ids and the ends of requests."""

from collections.abc import Callable, Iterator

import httpx
import pytest
from fastapi import FastAPI
from fastapi.responses import StreamingResponse

from server.http.errors import handlers
from server.http.middleware.context import RequestContext
from server.telemetry import Telemetry


@pytest.fixture(scope="module")
def telemetry() -> Telemetry:
    return Telemetry()


@pytest.fixture(scope="module")
def client(telemetry: Telemetry, serve: Callable[[FastAPI], httpx.Client]) -> httpx.Client:
    app = FastAPI()

    @app.get("/half")
    def half() -> StreamingResponse:
        def parts() -> Iterator[bytes]:
            yield b"one"
            raise ValueError("in the middle")

        return StreamingResponse(parts())

    @app.get("/counted/{name}")
    @app.get("/things/{name}")
    def thing(name: str) -> str:
        return name

    handlers.install(app)
    app.add_middleware(RequestContext, telemetry=telemetry)
    return serve(app)


@pytest.mark.parametrize("sent", ["", "x" * 200, "a b", "é".encode().decode("latin-1"), "a\tb"])
def test_unlawful_request_ids_are_replaced(client: httpx.Client, sent: str) -> None:
    answer = client.get("/things/1", headers=[(b"X-Request-Id", sent.encode("latin-1"))])
    assert len(answer.headers["x-request-id"]) == 32


def test_an_answer_that_breaks_half_way_is_cut(client: httpx.Client) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        client.get("/half")


def test_requests_are_counted_by_template(client: httpx.Client, telemetry: Telemetry) -> None:
    client.get("/counted/1")
    client.get("/counted/2")
    client.get("/nowhere/at/all")
    text = telemetry.exposition().decode()
    assert 'detco_http_request_seconds_count{method="GET",route="/counted/{name}",status="200"} 2.0' in text
    assert 'route="unmatched",status="404"' in text
    assert "nowhere" not in text
