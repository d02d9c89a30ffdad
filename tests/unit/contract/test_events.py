"""Events: a line is one event, read back equal, and a line that is none is refused as such."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detco_core.contract import events
from detco_core.contract.errors import InvalidDocument
from detco_core.contract.events import TYPES, Event, Failed, Finished, Metrics, decode, encode

BODIES: dict[str, Any] = {
    "started": events.Started(environment={"torch": "2.15", "gpus": []}, resumed_from=10),
    "progress": events.Progress(step=3, steps=20, images_per_second=1.5),
    "metrics": Metrics(step=3, values={"loss": 7.25, "loss/g2g/res5": 6.0}),
    "checkpoint": events.CheckpointSaved(step=5, epoch=0.5, path="checkpoints/a.pt", bytes=3, sha256="sha256:aa"),
    "artifact": events.ArtifactSaved(name="bundle/model.onnx", path="bundle/model.onnx", bytes=3, sha256="sha256:aa"),
    "warning": events.Warned(code="broken_images", message="2 files", details={"paths": ["a.jpg"]}),
    "report": events.Reported(report={"task": "knn", "scores": {"top1": 50.0}}),
    "stopped": events.Stopped(step=7),
    "finished": Finished(step=20),
    "error": Failed(kind="out_of_memory", message="no memory"),
}


def test_there_is_an_example_of_every_type() -> None:
    assert BODIES.keys() == TYPES.keys()


@pytest.mark.parametrize("name", sorted(TYPES))
def test_an_event_is_one_line_and_reads_back_equal(name: str) -> None:
    event = Event(4, 1770000000.5, BODIES[name])
    line = encode(event)
    assert "\n" not in line
    assert event.type == json.loads(line)["type"] == name
    assert decode(line) == event


@given(st.text(), st.integers(1, 2**53), st.floats(0, 2e9))
def test_any_text_survives(message: str, seq: int, time: float) -> None:
    line = encode(Event(seq, time, Failed(kind="user", message=message)))
    assert "\n" not in line
    assert decode(line) == Event(seq, time, Failed(kind="user", message=message))


@pytest.mark.parametrize(
    "line",
    [
        "",
        "not json",
        "[]",
        "3",
        "null",
        "{}",
        '{"seq":1,"time":2.0}',
        '{"seq":1,"time":2.0,"type":"progress","step":1,"ste',
        '{"seq":1,"time":2.0,"type":"invented"}',
        '{"seq":1,"time":2.0,"type":["progress"]}',
        '{"seq":"1","time":2.0,"type":"finished"}',
        '{"seq":1,"time":"noon","type":"finished"}',
        '{"seq":1,"time":NaN,"type":"finished"}',
        '{"seq":1,"time":2.0,"type":"finished","mood":"good"}',
        '{"seq":1,"time":2.0,"type":"stopped"}',
        '{"seq":1,"time":2.0,"type":"error","kind":"bad luck","message":""}',
        '{"seq":1,"time":2.0,"type":"metrics","step":1,"values":{"loss":"high"}}',
    ],
)
def test_a_line_that_is_no_event_is_refused(line: str) -> None:
    with pytest.raises(InvalidDocument):
        decode(line)


@given(st.integers(0, 200))
def test_a_cut_line_is_never_an_event(length: int) -> None:
    """A reader may look while the line is being written."""
    line = encode(Event(4, 1770000000.5, BODIES["checkpoint"]))
    with pytest.raises(InvalidDocument):
        decode(line[: min(length, len(line) - 1)])


def test_nan_cannot_be_written() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        encode(Event(1, 0.0, Metrics(step=1, values={"loss": float("nan")})))
