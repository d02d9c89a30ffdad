"""Pretraining runs, what one would be, and their checkpoints."""

from typing import Any, TypedDict

from detco_client.resources.base import Resource
from detco_client.resources.jobs import Job


class Run(Job):
    """A pretraining run."""

    config: dict[str, Any]
    config_digest: str | None
    gpus: int
    """On each node."""
    nodes: int
    metrics: dict[str, float]
    """The newest value of each."""

    warnings: list[dict[str, Any]]
    """What it has warned of: `code`, `message`, `count`, `time` and `details` of the newest of each code."""
    init: dict[str, Any] | None
    """What it started from; None for random weights."""
    forked_from: dict[str, str] | None
    """`run`, `checkpoint` and `carry` (`weights` or `all`)."""


class Plan(TypedDict):
    """What a run would be (`dry_run`)."""

    config: dict[str, Any]
    config_digest: str
    dataset: str
    warnings: list[dict[str, str]]
    deviations: list[dict[str, Any]]
    """Differences from the published recipe."""
    estimate: dict[str, Any]
    """Time, memory and disk, and on what basis."""


class Checkpoint(Resource):
    """A checkpoint of a run."""

    run: str
    step: int
    epoch: float
    bytes: int
    sha256: str
    score: float | None
    """By the metric of the run's monitor."""
    state: str
    pinned_by: str | None
    kept_because: list[str]
    """Why it stays; empty: it goes with the next clean-up."""
