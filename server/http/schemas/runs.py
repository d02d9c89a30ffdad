"""Pretraining runs: what is posted, what is planned, what is shown."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from control.db.models import Run
from detco_core.contract.config import RunConfig
from server.http.schemas.base import Body, Json, Labels, Options, Text, View
from server.http.schemas.jobs import JobView, Waiting, job_fields


class RunRequest(Body):
    """A pretraining run: a data set, a preset, and what is to be different."""

    dataset: Text
    """`name` (its newest version) or `name@version`."""
    preset: Text = "detco_r50"
    overrides: Options = Field(default_factory=dict)
    """Dotted keys of the config, e.g. `{"train.steps": 60}`."""
    name: Text | None = None
    labels: Labels = Field(default_factory=dict)
    group: Text | None = None
    priority: int = Field(default=0, ge=-100, le=100)
    """Larger is more urgent."""
    gpus: int = Field(default=1, ge=1, le=1024)
    """Training processes; each takes a GPU, or a CPU training place on a worker without one."""
    nodes: Literal[1] = 1
    max_attempts: int = Field(default=3, ge=1, le=100)
    """Tries that may fail by the run's own fault."""
    after: Annotated[tuple[Text, ...], Field(max_length=100)] = ()
    """Ids of jobs that must be completed first."""


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
    warnings: list[Caution]
    deviations: list[DeviationView]
    estimate: EstimateView


class RunView(JobView):
    """A pretraining run."""

    config: Json
    """Resolved: the preset with the overrides."""
    config_digest: str | None
    gpus: int
    metrics: dict[str, float]
    """The newest value of each."""


def run_view(run: Run, waiting: Waiting, metrics: Mapping[str, float]) -> RunView:
    return RunView(
        **job_fields(run, waiting),
        config=run.spec["config"],
        config_digest=run.config_digest,
        gpus=run.spec["gpus"],
        metrics=dict(metrics),
    )
