"""An attempt that is over, as a span in the trace of the request its run was submitted by.

Made when it is known how the attempt ended, from the tables, by whoever closed it: also by who closes it for a runner
that was killed. Where the environment asks for no traces (`control.tracing`) nothing is read, made or imported; where
it does, nothing that goes wrong here concerns the run.
"""

import logging
from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import Engine

from control.db.session import read_only
from control.records.life.traces import EndedAttempt, ended_attempt
from control.settings.tracing import traces_exporter
from control.tracing import close_provider, going_on_with, open_provider
from worker.processes import Mark

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Tracer

_NAME = "detco-worker"

_log = logging.getLogger(__name__)


def tell_of(engine: Engine, mark: Mark) -> None:
    """Of the attempt that these processes belong to, if it has ended; what follows a leader is no attempt."""
    if mark.node == 0:
        tell(engine, [(mark.run, mark.fence)])


def tell_of_newest(engine: Engine, runs: Iterable[str]) -> None:
    """Of the newest ended attempt of each run."""
    tell(engine, [(run, None) for run in runs])


def tell(engine: Engine, attempts: "list[tuple[str, int | None]]") -> None:
    """Send a span of each (run, fence), and those of its parts; takes `control.tracing.END_SECONDS` at most."""
    if not attempts:
        return
    try:
        if traces_exporter() is None or (provider := open_provider(_NAME)) is None:
            return
        try:
            _make(engine, provider, attempts)
        finally:
            close_provider(provider)
    except Exception:  # noqa: BLE001 - whatever a library or a collector trips over, it must not cost the run
        _log.warning("no span of %s", ", ".join(run for run, _ in attempts), exc_info=True)


def _make(engine: Engine, provider: "TracerProvider", attempts: "list[tuple[str, int | None]]") -> None:
    tracer = provider.get_tracer(_NAME)
    with read_only(engine) as session:
        ended = [ended_attempt(session, run, fence) for run, fence in attempts]
    for attempt in filter(None, ended):
        _span(tracer, attempt)


def _span(tracer: "Tracer", attempt: EndedAttempt) -> None:
    from opentelemetry.trace import SpanKind, StatusCode, set_span_in_context

    span = tracer.start_span(
        f"attempt {attempt.kind}",
        context=going_on_with(attempt.traceparent),
        kind=SpanKind.CONSUMER,
        start_time=_nanoseconds(attempt.queued_at),
        attributes=_attributes(attempt),
    )
    if attempt.state in ("failed", "lost"):
        span.set_status(StatusCode.ERROR, attempt.reason or attempt.cause or "")
    context = set_span_in_context(span)
    for name, began, ended in _parts(attempt):
        part = tracer.start_span(name, context=context, start_time=_nanoseconds(began))
        part.end(_nanoseconds(ended))
    span.end(_nanoseconds(attempt.ended_at))


def _attributes(attempt: EndedAttempt) -> dict[str, str | int]:
    found: dict[str, str | int | None] = {
        "detco.run": attempt.run_id,
        "detco.kind": attempt.kind,
        "detco.attempt": attempt.number,
        "detco.state": attempt.state,
        "detco.host": attempt.host,
        "detco.cause": attempt.cause,
    }
    return {name: value for name, value in found.items() if value is not None}


def _parts(attempt: EndedAttempt) -> "list[tuple[str, datetime, datetime]]":
    """`queue` until a worker took it, `prepare` until its job ran, `work` until it ended."""
    begun = attempt.started_at or attempt.ended_at
    parts = [("queue", attempt.queued_at, attempt.claimed_at), ("prepare", attempt.claimed_at, begun)]
    return parts if attempt.started_at is None else [*parts, ("work", begun, attempt.ended_at)]


def _nanoseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1e9)
