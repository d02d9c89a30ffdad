"""Evaluations and their reports."""

from typing import Any, TypedDict

from detco_client.resources.jobs import Job


class Report(TypedDict):
    """The result of an evaluation."""

    task: str
    protocol: str
    """One sentence that says how the scores came about."""
    scores: dict[str, float]
    details: dict[str, Any]


class Evaluation(Job):
    """An evaluation; `report` once it is completed."""

    task: str
    source: dict[str, Any]
    options: dict[str, Any]
    report: Report | None
