"""The line of a call: how it ended, also when its caller left, and whose id it has."""

import pytest

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
