"""A request for features as an operator sees it: a line in the access log, and its spans at a collector."""

import io
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from PIL import Image

from control import tracing
from server.app import make_app
from tests.collector import Collector
from tests.log_lines import json_lines
from worker.attempts.spans import tell

TRACE = "0af7651916cd43dd8448eb211c80319c"


def observed(monkeypatch: pytest.MonkeyPatch, collector: Collector) -> None:
    """From here on, what this process opens sends its spans there."""
    for name, value in {**collector.environment, "OTEL_BSP_SCHEDULE_DELAY": "20"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(tracing, "END_SECONDS", 60.0)


def test_an_attempt_is_a_span_of_the_request_that_asked_for_its_run(
    house: Any,
    photos: str,
    serve: Callable[[FastAPI], httpx.Client],
    collector: Collector,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    observed(monkeypatch, collector)
    client = serve(make_app(house.settings, ["api"]))
    client.headers["Authorization"] = house.client("submit").headers["authorization"]
    given = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
    asked = client.post("/v1/runs", json={"dataset": photos, "preset": "smoke"}, headers=given)
    assert asked.status_code == 202
    taken = house.claim("gpu")
    house.close(taken)
    tell(house.engine, [(taken.run_id, taken.fence)])
    give_up = time.monotonic() + 60
    while not (requests := [span for span in collector.spans if span.name == "POST /v1/runs"]):
        assert time.monotonic() < give_up
        time.sleep(0.01)
    (attempt,) = (span for span in collector.spans if span.name == "attempt pretrain")
    assert (attempt.trace_id.hex(), attempt.parent_span_id) == (TRACE, requests[0].span_id)


def test_a_request_is_seen_in_the_log_and_as_spans(
    house: Any,
    admin: httpx.Client,
    run: str,
    serve: Callable[[FastAPI], httpx.Client],
    collector: Collector,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert admin.post("/v1/models/tiny/versions", json={"run": run}).status_code == 202
    house.export(0)
    assert admin.put("/v1/models/tiny/aliases/production", json={"version": 1}).status_code == 200
    observed(monkeypatch, collector)
    log = tmp_path / "access.jsonl"
    app = make_app(house.settings.model_copy(update={"access_log": str(log)}), ["features"])
    client = serve(app)
    client.headers["Authorization"] = house.client("features").headers["authorization"]
    while client.get("/readyz/features").status_code != 200:
        time.sleep(0.01)
    file = io.BytesIO()
    Image.new("RGB", (40, 30)).save(file, "PNG")
    given = {"Content-Type": "image/png", "traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
    answer = client.post("/features?priority=bulk", content=file.getvalue(), headers=given)
    assert answer.status_code == 200
    refused = client.post("/features?model=other", content=file.getvalue(), headers=given)

    def lines() -> dict[str, Any]:
        return {line["request_id"]: line for line in json_lines(log)}

    give_up = time.monotonic() + 120
    while len([span for span in collector.spans if span.trace_id.hex() == TRACE]) < 7:
        assert time.monotonic() < give_up
        time.sleep(0.01)
    line = lines()[answer.headers["x-request-id"]]
    said = {name: line[name] for name in ("route", "status", "model", "version", "images", "priority", "trace")}
    assert said == {
        "route": "/features",
        "status": 200,
        "model": "tiny",
        "version": 1,
        "images": 1,
        "priority": "bulk",
        "trace": TRACE,
    }
    assert line["token"].startswith("tok_")
    assert line["bytes_out"] == len(answer.content)
    assert lines()[refused.headers["x-request-id"]]["cause"] == "unknown_model"
    ours = [span for span in collector.spans if span.trace_id.hex() == TRACE]
    requests = [span for span in ours if span.name == "POST /features"]
    assert len(requests) == 2
    stages = sorted((span for span in ours if span not in requests), key=lambda span: span.start_time_unix_nano)
    assert [span.name for span in stages] == ["queue", "decode", "queue", "compute", "encode"]
    assert {span.parent_span_id for span in stages} <= {span.span_id for span in requests}
    (parent,) = (span for span in requests if span.span_id == stages[0].parent_span_id)
    assert parent.start_time_unix_nano <= stages[0].start_time_unix_nano
    assert stages[-1].end_time_unix_nano <= parent.end_time_unix_nano
    assert collector.service == "detco-server"
