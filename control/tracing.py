"""Spans, sent by OpenTelemetry as its standard environment says; where that asks for none, nothing is imported.

A process that makes spans opens a provider of its own, never the global one. The trace of the request that is served
goes with whatever is made on its behalf: `current`.
"""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from control.errors import SettingsError
from control.settings.tracing import traces_exporter

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Span

END_SECONDS = 3.0
"""The last spans have this long to be sent."""

_current: ContextVar[str | None] = ContextVar("traceparent", default=None)


def current() -> str | None:
    """W3C `traceparent` of the span on whose behalf this is done; None without one."""
    return _current.get()


@contextmanager
def on_behalf_of(span: "Span") -> Iterator[None]:
    """Let `current` name the span for as long as the block runs, also in the threads of its routes."""
    context = span.get_span_context()
    flags = int(context.trace_flags)
    token = _current.set(f"00-{context.trace_id:032x}-{context.span_id:016x}-{flags:02x}")
    try:
        yield
    finally:
        _current.reset(token)


def going_on_with(traceparent: str | None) -> "Context":
    """The context of a span that another process made; an empty one without it, or where it is none."""
    from opentelemetry.context import Context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier = {} if traceparent is None else {"traceparent": traceparent}
    return TraceContextTextMapPropagator().extract(carrier, Context())


def open_provider(service: str) -> "TracerProvider | None":
    """What the environment asks for, with `service` as its name unless that says another; None: no traces.

    Raises:
        SettingsError: it asks for traces, and the packages are missing, or for an exporter that there is none of.
    """
    exporter = traces_exporter()
    if exporter is None:
        return None
    try:
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        message = (
            "the OTEL_ variables ask for traces, and OpenTelemetry is not installed: pip install 'detco[telemetry]'"
        )
        raise SettingsError(f"{message}, or set OTEL_SDK_DISABLED=true ({error})") from error
    resource = Resource.create()
    if str(resource.attributes.get(SERVICE_NAME, "unknown_service")).startswith("unknown_service"):
        resource = resource.merge(Resource({SERVICE_NAME: service}))
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(_exporter(exporter)))
    return provider


def close_provider(provider: "TracerProvider") -> None:
    """Send what is left, if that can be done soon."""
    # A collector that does not answer must not hold up the end of the process.
    last = threading.Thread(target=provider.shutdown, daemon=True)
    last.start()
    last.join(END_SECONDS)


def _exporter(name: str) -> "SpanExporter":
    if name == "console":
        from opentelemetry.sdk.trace.export import ConsoleSpanExporter

        return ConsoleSpanExporter(out=sys.stdout)
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    except ImportError as error:
        message = "traces go out as OTLP over HTTP, and its exporter is not installed: pip install 'detco[telemetry]'"
        raise SettingsError(f"{message} ({error})") from error
    return OTLPSpanExporter()
