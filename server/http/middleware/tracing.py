"""Spans of requests; where the environment asks for none (`control.tracing`), nothing happens.

A request is a server span that goes on with the caller's trace (W3C `traceparent`); the stages of each image in the
feature path are its children, made from the moments noted when the answer is ready. A job it asks for keeps its trace.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from starlette.datastructures import Headers
from starlette.types import Scope

from control.log import redact
from control.tracing import close_provider, on_behalf_of, open_provider
from server.http.access import shortened

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span

_NAME = "detco-server"


class Tracing:
    """Makes spans with a provider of its own; without one, none."""

    def __init__(self, provider: "TracerProvider | None" = None) -> None:
        self._provider = provider
        self._tracer = None if provider is None else provider.get_tracer(_NAME)

    @contextmanager
    def request(self, scope: Scope) -> Iterator["Span | None"]:
        """The span of a request for as long as the block runs; None where there are no traces."""
        if self._tracer is None:
            yield None
            return
        from opentelemetry.trace import SpanKind, use_span
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        # The method is all that is known until a route has been found.
        parent = TraceContextTextMapPropagator().extract(dict(Headers(scope=scope)))
        span = self._tracer.start_span(str(scope["method"]), context=parent, kind=SpanKind.SERVER)
        quiet = {"record_exception": False, "set_status_on_exception": False}
        with use_span(span, end_on_exit=True, **quiet), on_behalf_of(span):
            yield span

    def describe(self, span: "Span | None", scope: Scope, route: str, status: int, notes: Mapping[str, Any]) -> None:
        """Say what is known at the end of a request, and add the stages of its images."""
        if span is None or not span.is_recording():
            return
        from opentelemetry.trace import StatusCode

        span.update_name(f"{scope['method']} {route}")
        span.set_attributes(
            {
                "http.request.method": str(scope["method"]),
                "http.route": route,
                "url.path": redact(shortened(str(scope["path"]))),
                "http.response.status_code": status,
                **{f"detco.{name}": value for name, value in notes.items() if isinstance(value, str | int | float)},
            }
        )
        if status >= 500:
            span.set_status(StatusCode.ERROR, str(notes.get("cause", "")))
        self._stages(span, scope.get("state", {}).get("moments", ()))

    def _stages(self, span: "Span", moments: "list[tuple[int, str, float, float]]") -> None:
        if not moments or self._tracer is None:
            return
        from opentelemetry.trace import set_span_in_context

        context, since = set_span_in_context(span), time.time() - time.monotonic()
        for image, stage, began, ended in moments:
            start = round((since + began) * 1e9)
            child = self._tracer.start_span(stage, context=context, start_time=start, attributes={"detco.image": image})
            child.end(round((since + ended) * 1e9))

    def close(self) -> None:
        """Send what is left, if that can be done soon."""
        if self._provider is not None:
            close_provider(self._provider)


def trace_id(span: "Span | None") -> str | None:
    """Of a span, as it is written; None without one."""
    return None if span is None else f"{span.get_span_context().trace_id:032x}"


def open_tracing() -> Tracing:
    """What the environment asks for; raises what `control.tracing.open_provider` raises."""
    return Tracing(open_provider(_NAME))
