"""Spans: the caller's trace goes on, stages are children, and without OpenTelemetry's environment nothing happens."""

import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from control import tracing
from server.http.access import note
from server.http.errors import handlers
from server.http.middleware.context import RequestContext
from server.http.middleware.tracing import Tracing, open_tracing
from server.telemetry import Telemetry
from tests.collector import Collector

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture(scope="module")
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture(scope="module")
def client(exporter: InMemorySpanExporter, serve: Callable[[FastAPI], httpx.Client]) -> httpx.Client:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    app = FastAPI()

    @app.get("/things/{name}")
    async def thing(name: str, request: Request) -> None:
        note(request.scope, token="tok_1", images=2, odd=["not", "an", "attribute"])
        now = time.monotonic()
        request.scope["state"]["moments"] = [(0, "decode", now - 0.5, now - 0.25), (1, "compute", now - 0.25, now)]

    @app.get("/broken")
    def broken() -> None:
        raise ZeroDivisionError

    @app.get("/asks/for/a/job")
    def job() -> str | None:
        return tracing.current()

    handlers.install(app)
    app.add_middleware(RequestContext, telemetry=Telemetry(), tracing=Tracing(provider))
    return serve(app)


@pytest.fixture
def spans(exporter: InMemorySpanExporter) -> Callable[[], Any]:
    """The spans of the test's requests, once they have ended: by name."""
    exporter.clear()

    def read() -> Any:
        give_up = time.monotonic() + 10
        while not any(span.kind == SpanKind.SERVER for span in exporter.get_finished_spans()):
            assert time.monotonic() < give_up
            time.sleep(0.005)
        return {span.name: span for span in exporter.get_finished_spans()}

    return read


def test_a_request_goes_on_with_its_callers_trace_and_has_its_stages(
    client: httpx.Client, spans: Callable[[], Any]
) -> None:
    client.get("/things/7", headers={"traceparent": f"00-{TRACE}-{PARENT}-01", "X-Request-Id": "mine"})
    found = spans()
    request = found["GET /things/{name}"]
    assert (f"{request.context.trace_id:032x}", f"{request.parent.span_id:016x}") == (TRACE, PARENT)
    assert request.attributes == {
        "http.request.method": "GET",
        "http.route": "/things/{name}",
        "url.path": "/things/7",
        "http.response.status_code": 200,
        "detco.request_id": "mine",
        "detco.token": "tok_1",
        "detco.images": 2,
    }
    for name, image, seconds in (("decode", 0, 0.25), ("compute", 1, 0.25)):
        stage = found[name]
        assert stage.parent.span_id == request.context.span_id
        assert stage.attributes == {"detco.image": image}
        assert stage.end_time - stage.start_time == pytest.approx(seconds * 1e9, rel=0.01)
    assert abs(found["compute"].end_time - request.end_time) < 5e9


def test_a_span_holds_no_secret_and_no_more_of_a_path_than_a_log(
    client: httpx.Client, spans: Callable[[], Any]
) -> None:
    secret = "detco_" + "s" * 43
    client.get(f"/things/{secret}{'x' * 500}")
    path = spans()["GET /things/{name}"].attributes["url.path"]
    assert secret not in path
    assert len(path) < 210


def test_a_route_knows_on_whose_behalf_it_works(client: httpx.Client, spans: Callable[[], Any]) -> None:
    heard = client.get("/asks/for/a/job", headers={"traceparent": f"00-{TRACE}-{PARENT}-01"}).json()
    request = spans()["GET /asks/for/a/job"]
    assert heard == f"00-{TRACE}-{request.context.span_id:016x}-01"
    assert tracing.current() is None


def test_a_failure_is_one(client: httpx.Client, spans: Callable[[], Any]) -> None:
    client.get("/broken")
    request = spans()["GET /broken"]
    assert (request.status.status_code, request.parent) == (StatusCode.ERROR, None)
    assert request.attributes["detco.cause"] == "internal"


def test_without_the_environment_nothing_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with open_tracing().request({"type": "http"}) as span:
        assert span is None
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    open_tracing().close()


def test_a_collector_that_does_not_answer_holds_up_no_request_and_no_end(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracing, "END_SECONDS", 0.2)
    for name, value in {**collector.environment, "OTEL_EXPORTER_OTLP_TIMEOUT": "1000"}.items():
        monkeypatch.setenv(name, value)
    sent, answer, answered = threading.Event(), threading.Event(), list[bool]()

    def wait(_: Any) -> None:
        sent.set()
        answered.append(answer.wait(25))  # less than OpenTelemetry would wait for its own end

    monkeypatch.setattr(collector, "take", wait)
    opened = open_tracing()
    with opened.request({"type": "http", "method": "GET", "headers": []}) as span:
        assert span is not None
    opened.close()
    # Here, though there is no answer yet to what is under way.
    assert sent.wait(60)
    assert answered == []
    answer.set()


def test_the_console_is_an_exporter_too(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "console")
    opened = open_tracing()
    with opened.request({"type": "http", "method": "PATCH", "headers": []}):
        pass
    opened.close()
    assert '"name": "PATCH"' in capsys.readouterr().out
