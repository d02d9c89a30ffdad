"""The line of a call: how it ended, also when its caller left, and whose id it has."""

import time

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from server.http.access import AccessLog
from server.http.middleware.tracing import Tracing
from server.http.problems import Problem
from server.rpc.record import Recorder
from server.telemetry import Telemetry
from tests.unit.server.rpc.lines import Lines


def test_every_end_has_its_line() -> None:
    lines, telemetry = Lines(), Telemetry()
    service = "/inference.GRPCInferenceService/"
    recorder = Recorder(telemetry, AccessLog(lines), Tracing())
    with recorder.call(f"{service}ModelInfer", (("x-request-id", "mine"), ("x-bin", b"\xff")), 7) as record:
        record.answered(9)
    with recorder.call(f"{service}ModelInfer", (("x-request-id", "not lawful"),), 0) as record:
        assert record.refused(Problem("too_many_requests", "full", code="overloaded")) == "full"
    with pytest.raises(ZeroDivisionError), recorder.call(f"{service}ModelReady", (), 0, "given"):
        _ = 1 / 0
    kept = [(line["grpc"], line["status"], line.get("cause"), line["route"]) for line in lines.lines]
    assert kept == [
        ("OK", 200, None, f"{service}ModelInfer"),
        ("UNAVAILABLE", 503, "overloaded", f"{service}ModelInfer"),
        ("CANCELLED", 499, "caller_left", f"{service}ModelReady"),
    ]
    assert (lines.lines[0]["request_id"], lines.lines[0]["bytes_in"], lines.lines[0]["bytes_out"]) == ("mine", 7, 9)
    assert lines.lines[1]["request_id"] != "not lawful"
    assert lines.lines[2]["request_id"] == "given"
    assert b'detco_grpc_call_seconds_count{code="UNAVAILABLE",method="ModelInfer"} 1.0' in telemetry.exposition()


def test_a_call_goes_on_with_its_callers_trace_and_has_its_stages() -> None:
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    lines, trace, parent = Lines(), "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    recorder = Recorder(Telemetry(), AccessLog(lines), Tracing(provider))
    metadata = (("traceparent", f"00-{trace}-{parent}-01"), ("authorization", "Bearer secret"))
    with recorder.call("/inference.GRPCInferenceService/ModelInfer", metadata, 7) as record:
        now = time.monotonic()
        record.scope["state"]["moments"] = [(0, "decode", now - 0.5, now - 0.25), (0, "compute", now - 0.25, now)]
        record.answered(9)
    with recorder.call("/inference.GRPCInferenceService/ModelInfer", (("traceparent", "00-junk"),), 7) as record:
        record.refused(Problem("unavailable", "away"))
    *stages, call, other = exporter.get_finished_spans()
    assert {stage.name for stage in stages} == {"decode", "compute"}
    assert {stage.parent and stage.parent.span_id for stage in stages} == {call.context.span_id}
    assert call.parent is not None
    assert (f"{call.context.trace_id:032x}", f"{call.parent.span_id:016x}") == (trace, parent)
    assert "secret" not in call.to_json()
    assert other.parent is None
    assert [line["trace"] for line in lines.lines] == [trace, f"{other.context.trace_id:032x}"]
