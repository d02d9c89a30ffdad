"""An attempt that is over is a span with its parts; nothing that goes wrong with that concerns the run."""

import threading
from itertools import pairwise
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from control import tracing
from control.db.models import Run
from control.db.session import unit_of_work
from control.records.life import leases
from tests.collector import Collector
from tests.log_lines import lines_of
from tests.ports import reserved_port
from tests.unit.worker.house import House
from worker.attempts.spans import tell, tell_of, tell_of_newest
from worker.processes import Mark

TRACE, REQUEST = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture
def observed(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> Collector:
    monkeypatch.setattr(tracing, "END_SECONDS", 60.0)
    for name, value in collector.environment.items():
        monkeypatch.setenv(name, value)
    return collector


def attributes(span: Any) -> dict[str, Any]:
    found = {item.key.removeprefix("detco."): item.value for item in span.attributes}
    return {name: value.int_value or value.string_value for name, value in found.items()}


def test_every_attempt_is_a_span_in_the_trace_of_the_request(house: House, observed: Collector) -> None:
    run_id = house.pretraining(traceparent=f"00-{TRACE}-{REQUEST}-01")
    lost = house.claim()
    house.close(lost)
    tell_of(house.engine, Mark(run_id, lost.fence))
    with unit_of_work(house.engine) as session:
        session.get_one(Run, run_id).not_before = None
    again = house.claim()
    with unit_of_work(house.engine) as session:
        assert leases.start(session, run_id, again.fence, 1)
    house.close(again, "completed")
    tell_of_newest(house.engine, [run_id])
    first, second = (span for span in observed.spans if span.name == "attempt pretrain")
    for span in (first, second):
        assert (span.trace_id.hex(), span.parent_span_id.hex(), span.kind) == (TRACE, REQUEST, Span.SPAN_KIND_CONSUMER)
    common = {"run": run_id, "kind": "pretrain", "host": "host"}
    assert attributes(first) == common | {"attempt": 1, "state": "lost", "cause": "worker_lost"}
    assert attributes(second) == common | {"attempt": 2, "state": "completed"}
    assert (first.status.code, second.status.code) == (Status.STATUS_CODE_ERROR, Status.STATUS_CODE_UNSET)
    assert parts(observed, first) == ["queue", "prepare"]
    assert parts(observed, second) == ["queue", "prepare", "work"]
    assert observed.service == "detco-worker"
    assert first.start_time_unix_nano != second.start_time_unix_nano


def parts(observed: Collector, whole: Any) -> list[str]:
    """Names of a span's children, which follow one another from its beginning to its end."""
    found = [span for span in observed.spans if span.parent_span_id == whole.span_id]
    found.sort(key=lambda span: (span.start_time_unix_nano, span.end_time_unix_nano))
    edges = [(span.start_time_unix_nano, span.end_time_unix_nano) for span in found]
    assert edges[0][0] == whole.start_time_unix_nano
    assert edges[-1][1] == whole.end_time_unix_nano
    assert all(end == begin for (_, end), (begin, _) in pairwise(edges))
    return [span.name for span in found]


def test_a_run_that_no_trace_asked_for_has_one_of_its_own(house: House, observed: Collector) -> None:
    house.submit()
    house.close(claim := house.claim())
    tell_of(house.engine, Mark(claim.run_id, claim.fence))
    tell_of(house.engine, Mark(claim.run_id, claim.fence, node=1))
    (span,) = (span for span in observed.spans if span.name == "attempt pretrain")
    assert not span.parent_span_id


def test_what_has_not_ended_is_no_span(house: House, observed: Collector) -> None:
    house.submit()
    claim = house.claim()
    tell_of(house.engine, Mark(claim.run_id, claim.fence))
    tell_of_newest(house.engine, [claim.run_id, "run_unknown"])
    assert observed.spans == []


def test_without_the_environment_nothing_is_read(caplog: pytest.LogCaptureFixture) -> None:
    tell(None, [("run_1", 1)])  # type: ignore[arg-type]  # it is never asked
    assert not lines_of(caplog, "worker.attempts.spans")  # where what goes wrong is told


def test_a_collector_that_does_not_answer_holds_up_no_attempt(
    house: House, observed: Collector, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tracing, "END_SECONDS", 0.1)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1000")
    sent, answer, answered = threading.Event(), threading.Event(), list[bool]()

    def wait(_: Any) -> None:
        sent.set()
        answered.append(answer.wait(25))  # less than OpenTelemetry would wait for its own end

    monkeypatch.setattr(observed, "take", wait)
    house.submit()
    house.close(claim := house.claim())
    tell_of(house.engine, Mark(claim.run_id, claim.fence))
    # Here, though there is no answer yet to what is under way.
    assert sent.wait(60)
    assert answered == []
    answer.set()
    assert "no span of" not in caplog.text


def test_a_collector_that_is_not_there_is_no_failure(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tracing, "END_SECONDS", 60.0)
    with reserved_port() as nobody:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{nobody}")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
        house.submit()
        house.close(claim := house.claim())
        tell_of(house.engine, Mark(claim.run_id, claim.fence))
    assert any(record.name.startswith("opentelemetry") for record in caplog.records)  # it was tried, in vain
    assert "no span of" not in caplog.text  # where what trips over it would be told
    with unit_of_work(house.engine) as session:
        assert session.get_one(Run, claim.run_id).state == "queued"  # as it was: lost, and to be tried again


def test_what_the_environment_has_wrong_is_said_and_no_failure(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "zipkin")
    tell(None, [("run_1", 1)])  # type: ignore[arg-type]  # it is never asked
    assert "no span of run_1" in caplog.text
    assert "zipkin" in caplog.text
