"""Where spans go is what the environment says, and a span of another process can be gone on with."""

import sys

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import get_current_span

from control import tracing
from control.errors import SettingsError
from control.tracing import current, going_on_with, on_behalf_of, open_provider


@pytest.mark.parametrize(
    "missing", ["opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.http.trace_exporter"]
)
def test_asked_for_and_not_installed_is_said_at_the_start(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(SettingsError, match=r"detco\[telemetry\]"):
        open_provider("x")


@pytest.mark.parametrize(
    ("name", "value"), [("OTEL_TRACES_EXPORTER", "zipkin"), ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "grpc")]
)
def test_what_there_is_not_is_said_at_the_start(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=value):
        open_provider("x")


def test_without_the_environment_there_is_no_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    assert open_provider("x") is None


def test_the_service_is_named_unless_the_environment_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "console")
    for wanted in ("detco-worker", "mine"):
        provider = open_provider("detco-worker")
        assert provider is not None
        assert provider.resource.attributes["service.name"] == wanted
        tracing.close_provider(provider)
        monkeypatch.setenv("OTEL_SERVICE_NAME", "mine")


def test_another_process_goes_on_with_what_is_current() -> None:
    span = TracerProvider(shutdown_on_exit=False).get_tracer("t").start_span("s")
    with on_behalf_of(span):
        said = current()
    assert current() is None
    assert get_current_span(going_on_with(said)).get_span_context().span_id == span.get_span_context().span_id


@pytest.mark.parametrize("said", [None, "", "no trace at all", "00-" + "0" * 32 + "-" + "0" * 16 + "-01"])
def test_what_is_no_trace_is_gone_on_with_by_a_new_one(said: str | None) -> None:
    assert not get_current_span(going_on_with(said)).get_span_context().is_valid
