"""Bodies: what is refused before anything is looked up."""

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from control.db.models import Attempt, AttemptNode
from server.http.schemas.datasets import DatasetRequest
from server.http.schemas.evaluations import EvaluationRequest
from server.http.schemas.jobs import attempt_view
from server.http.schemas.models import ExportRequest
from server.http.schemas.runs import RunRequest


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        float("inf"),
        "a\0b",
        "\ud800",
        ["x", float("-inf")],
        {"a\0": 1},
        {"a": {"b": "\udfff"}},
        nested(17),
    ],
)
def test_what_no_database_can_hold(value: Any) -> None:
    with pytest.raises(ValidationError):
        RunRequest(dataset="d", overrides={"seed": value})
    with pytest.raises(ValidationError):
        EvaluationRequest.model_validate({"task": "knn", "source": {}, "dataset": "d", "options": {"k": value}})


@pytest.mark.parametrize("value", [1, "text", "\u00e9\U0001f426", None, True, 0.5, [1, [2]], {"a": [None]}, nested(15)])
def test_what_they_can(value: Any) -> None:
    assert RunRequest(dataset="d", overrides={"seed": value}).overrides == {"seed": value}


@pytest.mark.parametrize("name", ["", ".a", "-a", "a/b", "a@1", "a:1", "a b", "a\n", "é", "x" * 101])
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(ValidationError):
        DatasetRequest(name=name, kind="images", uri="/x")


def test_everything_is_bounded() -> None:
    for body in (
        {"overrides": {str(n): n for n in range(201)}},
        {"labels": {str(n): "v" for n in range(65)}},
        {"after": ["run"] * 101},
        {"name": "x" * 201},
    ):
        with pytest.raises(ValidationError):
            RunRequest.model_validate({"dataset": "d"} | body)


@pytest.mark.parametrize("formats", [[], ["torchvision"], ["onnx", "onnx"], ["pickle"]])
def test_formats_that_cannot_be_served(formats: list[str]) -> None:
    with pytest.raises(ValidationError):
        ExportRequest.model_validate({"run": "r", "formats": formats})


def test_an_attempt_of_several_hosts_lists_them() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    made = {"id": "att_1", "run_id": "run_1", "created_at": now, "created_by": "worker:a", "worker_id": "wkr_1"}
    attempt = Attempt(**made, number=1, fence=7, host="a", slots=["cpu:0"], state="lost", ended_at=now)
    share = {"run_id": "run_1", "fence": 7, "lease_expires_at": now, "slots": ["cpu:0"], "state": "lost"}
    nodes = [AttemptNode(**share, node=number, host=host) for number, host in enumerate("ab")]
    view = attempt_view(attempt, nodes)
    assert [(node.node, node.host, node.state) for node in view.nodes] == [(0, "a", "lost"), (1, "b", "lost")]
    assert attempt_view(attempt).nodes == []
