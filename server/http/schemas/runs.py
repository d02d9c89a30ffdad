"""Pretraining runs: what is posted, what is planned, what is shown."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from control.db.models import Run, RunEvent
from detco_core.contract.config import RunConfig
from server.http.schemas.base import Body, Json, Options, Text, View
from server.http.schemas.jobs import JobView, TrainingRequest, Waiting, job_fields
from server.http.schemas.keeping import KeepRequest


class InitRequest(Body):
    """What a run starts from instead of random weights: one of imported weights, a model, and a checkpoint of a run."""

    weights: Text | None = None
    """Id or name."""
    model: Text | None = None
    """`name`, `name:version` or `name@alias`."""
    run: Text | None = None
    checkpoint: Text | None = None
    """Of the run: `last` (when it is left out), `best`, or an id."""
    strict: bool = True
    """Refuse weights of another architecture, or that lack keys of the backbone; else take what fits, and warn."""


class RunRequest(TrainingRequest):
    """A pretraining run: a data set, a preset, and what is to be different."""

    dataset: Text
    """`name` (its newest version) or `name@version`."""
    preset: Text = "detco_r50"
    overrides: Options = Field(default_factory=dict)
    """Dotted keys of the config, e.g. `{"train.steps": 60}`."""
    gpus: int = Field(default=1, ge=1, le=1024)
    """Training processes on each node; each takes a GPU, or a CPU training place on a worker without one."""
    nodes: int = Field(default=1, ge=1, le=64)
    """Hosts that work on it together; all of them, or none, are taken at once."""
    init: InitRequest | None = None
    """What it starts from; without it random weights of the config's seed."""
    keep: KeepRequest | None = None
    """Which of its checkpoints are kept; the service's setting where nothing is said. May be changed later."""


class ForkRequest(TrainingRequest):
    """A new run that goes on from a checkpoint of another."""

    checkpoint: Text = "last"
    """`last`, `best`, or an id."""
    carry: Literal["weights", "all"] = "weights"
    """weights: start anew from the encoder, heads included. all: go on with optimizer, queues and random state."""
    overrides: Options = Field(default_factory=dict)
    """Of the forked run's config; where all is carried, of its length and of what no number depends on."""
    dataset: Text | None = None
    """The forked run's when it is left out."""
    gpus: int | None = Field(default=None, ge=1, le=1024)
    """On each node; as many as the forked run when it is left out."""
    nodes: int | None = Field(default=None, ge=1, le=64)
    """As many as the forked run when it is left out."""
    allow_world_size_change: bool = False
    """Consent to carry all to another number of processes: batch norm groups change, so the numbers do."""
    keep: KeepRequest | None = None
    """As for a run; not the forked run's."""


class DeviationView(View):
    """One difference from the published recipe."""

    key: str
    published: Any
    here: Any
    note: str


class Caution(View):
    """Something to know before the run is started."""

    code: str
    message: str


class EstimateView(View):
    """What a run will take, as far as that is known; null where it is not."""

    seconds: float | None
    images_per_second: float | None
    steps: int | None
    memory_bytes: int | None
    """Of each training process."""
    disk_bytes: int | None
    """Of all its checkpoints."""
    basis: str
    """Where the figures come from: earlier runs of this service, or arithmetic."""


class PlanView(View):
    """What a run would be: the answer to `dry_run=true`."""

    config: RunConfig
    """Resolved: the preset with the overrides."""
    config_digest: str
    dataset: str
    """`name@version`"""
    init: Json | None
    """What it would start from, resolved to ids; null for random weights, and for a fork that carries all."""
    warnings: list[Caution]
    deviations: list[DeviationView]
    estimate: EstimateView


class WarningView(Caution):
    """Something a run has warned of."""

    details: Json
    count: int
    """How often it was said lately, this time included."""
    time: datetime
    """Of the last time."""


class ForkedFrom(View):
    """Where a fork goes on from."""

    run: str
    checkpoint: str
    carry: Literal["weights", "all"]


class RunView(JobView):
    """A pretraining run."""

    config: Json
    """Resolved: the preset with the overrides."""
    config_digest: str | None
    gpus: int
    """Training processes on each node."""
    nodes: int
    metrics: dict[str, float]
    """The newest value of each."""
    warnings: list[WarningView]
    """What it has warned of: the newest of each code, newest first."""
    init: Json | None
    """What it started from, resolved to ids; null for random weights."""
    forked_from: ForkedFrom | None
    keep: KeepRequest
    """What it says of which checkpoints are kept; null: the service's setting."""


def run_view(run: Run, waiting: Waiting, metrics: Mapping[str, float], warnings: Sequence[RunEvent]) -> RunView:
    return RunView(
        **job_fields(run, waiting),
        config=run.spec["config"],
        config_digest=run.config_digest,
        gpus=run.spec["gpus"],
        nodes=run.nodes,
        metrics=dict(metrics),
        warnings=warning_views(warnings),
        init=run.spec.get("init"),
        forked_from=_forked_from(run),
        keep=KeepRequest.model_validate(run.keep or {}),
    )


def warning_views(events: Sequence[RunEvent]) -> list[WarningView]:
    """The first of each code, and how many of it there are."""
    counts = Counter(event.payload["code"] for event in events)
    first = {event.payload["code"]: event for event in reversed(events)}
    newest = sorted(first.values(), key=lambda event: event.id, reverse=True)
    return [WarningView(**e.payload, count=counts[e.payload["code"]], time=e.time) for e in newest]


def _forked_from(run: Run) -> ForkedFrom | None:
    if run.forked_from is None:
        return None
    source, carry = (run.spec["resume"], "all") if run.spec.get("resume") else (run.spec["init"], "weights")
    return ForkedFrom.model_validate({"run": run.forked_from, "checkpoint": source["checkpoint_id"], "carry": carry})
