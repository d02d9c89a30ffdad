"""Comparison: groups and spreads against numbers by hand."""

from datetime import UTC, datetime
from typing import Any

import pytest

from server.http.jobs.comparison import compare
from server.http.schemas.evaluations import EvaluationView, ReportView
from server.http.schemas.jobs import Usage


def evaluation(identity: str, top1: float | None, **more: Any) -> EvaluationView:
    report = None if top1 is None else ReportView(task="knn", protocol="p", scores={"top1": top1})
    fields: dict[str, Any] = {
        "id": identity,
        "created_at": datetime(2026, 1, 1, tzinfo=UTC),
        "created_by": "me",
        "kind": "evaluate",
        "name": None,
        "labels": {},
        "group": None,
        "priority": 0,
        "state": "completed",
        "desired_state": "run",
        "reason": None,
        "attempt": 1,
        "max_attempts": 3,
        "max_seconds": None,
        "idle_seconds": None,
        "grace_seconds": None,
        "preemptible": True,
        "preempt": False,
        "waiting_detail": None,
        "progress": None,
        "queue_position": None,
        "waiting_reason": None,
        "available_actions": (),
        "dataset": "d@1",
        "environment": None,
        "usage": Usage(gpu_seconds=0, cpu_seconds=None, bytes=0),
        "started_at": None,
        "finished_at": None,
        "task": "knn",
        "source": {"weights": "random"},
        "options": {},
        "seed": 0,
        "report": report,
    }
    return EvaluationView(**(fields | more))


def test_without_groups_there_is_one_for_each_task() -> None:
    table = compare([evaluation("a", 10.0), evaluation("b", 30.0), evaluation("c", 1.0, task="linear")], None)
    assert [(group.task, group.evaluations) for group in table.groups] == [("knn", ["a", "b"]), ("linear", ["c"])]
    spread = table.groups[0].scores["top1"]
    assert (spread.mean, spread.lowest, spread.highest, spread.count) == (20.0, 10.0, 30.0, 2)
    assert spread.stddev == pytest.approx(200**0.5)


@pytest.mark.parametrize(
    ("by", "fields", "key"),
    [
        ("group", {"group": "g"}, "g"),
        ("dataset", {}, "d@1"),
        ("name", {"name": "n"}, "n"),
        ("label:team", {"labels": {"team": "t"}}, "t"),
        ("label:other", {"labels": {"team": "t"}}, None),
        ("source", {"source": {"run": "r", "checkpoint_id": "c"}}, "checkpoint_id c, run r"),
    ],
)
def test_groups(by: str, fields: dict[str, Any], key: str | None) -> None:
    (group,) = compare([evaluation("a", 10.0, **fields)], by).groups
    assert group.group == key


def test_what_has_no_report_is_shown_and_not_counted() -> None:
    table = compare([evaluation("a", None), evaluation("b", 5.0)], None)
    assert [one.id for one in table.items] == ["a", "b"]
    assert table.groups[0].evaluations == ["b"]
