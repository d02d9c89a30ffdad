"""Sweeps, alone, with their runs, and before they are submitted."""

from typing import Any, TypedDict

from detco_client.resources.base import Resource


class Sweep(Resource):
    """Many runs that differ in a few keys, as a whole."""

    name: str | None
    labels: dict[str, str]
    group: str
    """Of its runs and their evaluations."""
    state: str
    """`completed` when every job has ended and at least one run is completed."""
    reason: str | None
    dataset: str
    preset: str
    overrides: dict[str, Any]
    varied: list[str]
    max_parallel: int | None
    evaluate: dict[str, Any] | None
    runs: dict[str, int]
    """How many, by state."""
    evaluations: dict[str, int]
    """How many, by state; `waiting` for their run to be completed."""


class SweepDetail(Sweep):
    """A sweep with its runs."""

    ranked_by: dict[str, str] | None
    """`by` (`evaluation` or `monitor`), `task` and `score`; None where nothing ranks the runs."""
    items: list[dict[str, Any]]
    """Each run: `number`, `overrides`, `run`, `state`, `metrics`, `evaluation`, `scores`, `score`, `rank`, ..."""
    comparison: list[dict[str, Any]]
    """By varied key: the scores' mean and spread for each of its values."""


class SweepPlan(TypedDict):
    """What a sweep would be (`dry_run`)."""

    dataset: str
    varied: list[str]
    evaluate: dict[str, Any] | None
    runs: list[dict[str, Any]]
    warnings: list[dict[str, str]]
    estimate: dict[str, Any]
    """Of all runs together, and on what basis."""
