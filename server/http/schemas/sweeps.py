"""Sweeps: what is posted, what is planned, how they stand and compare."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from control.db.models import Sweep
from control.records.sweeps.sweep_results import Line, Ranking, Standing, SweepState
from control.states import State
from server.http.schemas.base import Body, Grid, Json, Options, Resource, Text, View
from server.http.schemas.evaluations import Comparison
from server.http.schemas.jobs import ProgressView, TrainingRequest
from server.http.schemas.keeping import KeepRequest
from server.http.schemas.runs import Caution, InitRequest


class SweepEvaluationRequest(Body):
    """What a checkpoint of each completed run is evaluated by."""

    task: Text
    dataset: Text
    """`name` (its newest version) or `name@version`."""
    options: Options = Field(default_factory=dict)
    """Of the task, e.g. `{"k": 20}`."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    checkpoint: Literal["last", "best"] = "last"
    """`best` needs a monitor in the overrides."""


class SweepRequest(TrainingRequest):
    """Runs that differ in a few keys: every combination of a grid, or those listed.

    What is said of a run is said of each. The values of the varied keys are labels as well; the group is the sweep's id
    when it is left out.
    """

    dataset: Text
    """`name` (its newest version) or `name@version`."""
    preset: Text = "detco_r50"
    overrides: Options = Field(default_factory=dict)
    """Dotted keys of the config that all runs share."""
    grid: Grid | None = None
    """Dotted keys and the values each takes, e.g. `{"optim.lr": [0.01, 0.03], "seed": [1, 2]}`: every combination."""
    combinations: Annotated[list[Options], Field(max_length=1000)] | None = None
    """Instead of a grid: the overrides of each run, e.g. `[{"seed": 1}, {"seed": 2, "optim.lr": 0.1}]`."""
    gpus: int = Field(default=1, ge=1, le=1024)
    """Training processes of each run on each of its nodes."""
    nodes: int = Field(default=1, ge=1, le=64)
    """Hosts of each run."""
    keep: KeepRequest | None = None
    """Which checkpoints of each run are kept."""
    max_parallel: int | None = Field(default=None, ge=1, le=1024)
    """How many of its runs workers may hold at once; any number when it is left out."""
    init: InitRequest | None = None
    """What every run starts from; without it random weights of its seed."""
    evaluate: SweepEvaluationRequest | None = None
    """Evaluate each run when it is completed, and rank the runs by its score."""


class TotalView(View):
    """What all runs take together, as far as that is known; null where it is not."""

    runs: int
    seconds: float | None
    """Of all jobs, one after another."""
    gpu_seconds: float | None
    """Of the runs, over all of their training processes."""
    wall_seconds: float | None
    """With as many runs at once as there is room for now."""
    parallel: int
    disk_bytes: int | None
    """Of all checkpoints."""
    basis: str


class PlannedRunView(View):
    """One run a sweep would make."""

    number: int
    overrides: Json
    config_digest: str


class SweepPlanView(View):
    """What a sweep would be: the answer to `dry_run=true`."""

    dataset: str
    """`name@version`"""
    varied: list[str]
    evaluate: Json | None
    runs: list[PlannedRunView]
    warnings: list[Caution]
    """Of any of the runs, each once."""
    estimate: TotalView


class SweepView(Resource):
    """A sweep as a whole."""

    name: str | None
    labels: dict[str, str]
    group: str
    state: SweepState
    """`completed` when every job has ended and at least one run is completed."""
    reason: str | None
    """How many runs failed or were cancelled."""
    dataset: str
    preset: str
    overrides: Json
    varied: list[str]
    max_parallel: int | None
    evaluate: Json | None
    runs: dict[str, int]
    """How many, by state."""
    evaluations: dict[str, int]
    """How many, by state; `waiting` for their run to be completed."""


class SweepLineView(View):
    """One combination and what has come of it."""

    number: int
    overrides: Json
    run: str
    is_deleted: bool
    """Its run was deleted, and is shown here alone."""
    name: str | None
    state: State
    reason: str | None
    progress: ProgressView | None
    metrics: dict[str, float]
    """The newest loss, and the newest scores of the run's own monitor."""
    evaluation: str | None
    evaluation_state: State | None
    evaluation_reason: str | None
    scores: dict[str, float]
    """Of the evaluation."""
    score: float | None
    """What it is ranked by."""
    rank: int | None
    """1 is the best; equal scores share it."""
    started_at: datetime | None
    finished_at: datetime | None


class RankingView(View):
    """What decides the ranks."""

    by: Literal["evaluation", "monitor"]
    task: str
    score: str


class VariedKey(View):
    """The scores by the values of one varied key, over all values of the others."""

    key: str
    groups: list[Comparison]


class SweepDetail(SweepView):
    """A sweep, its runs and how they compare."""

    ranked_by: RankingView | None
    """null where nothing ranks the runs: neither `evaluate` nor a monitor; a contrastive loss does not."""
    items: list[SweepLineView]
    comparison: list[VariedKey]


def sweep_fields(sweep: Sweep, standing: Standing) -> dict[str, Any]:
    """The fields of a `SweepView`."""
    same = (
        *("id", "created_at", "created_by", "name", "labels", "group", "dataset", "preset", "overrides", "varied"),
        *("max_parallel", "evaluate"),
    )
    return {name: getattr(sweep, name) for name in same} | {
        "state": standing.state,
        "reason": standing.reason,
        "runs": dict(standing.runs),
        "evaluations": dict(standing.evaluations),
    }


def line_view(line: Line) -> SweepLineView:
    run, evaluation = line.run, line.evaluation
    report: Mapping[str, Any] = (evaluation.report if evaluation is not None else None) or {}
    return SweepLineView.model_validate(
        {
            "number": line.entry.number,
            "overrides": line.entry.overrides,
            "run": run.id,
            "is_deleted": run.deleted_at is not None,
            "name": run.name,
            "state": run.state,
            "reason": run.reason,
            "progress": run.progress,
            "metrics": line.metrics,
            "evaluation": evaluation.id if evaluation is not None else None,
            "evaluation_state": evaluation.state if evaluation is not None else None,
            "evaluation_reason": evaluation.reason if evaluation is not None else line.entry.reason,
            "scores": report.get("scores") or {},
            "score": line.score,
            "rank": line.rank,
            "started_at": run.started_at,
            "finished_at": run.finished_at,
        }
    )


def ranking_view(ranking: Ranking | None) -> RankingView | None:
    return None if ranking is None else RankingView(by=ranking.by, task=ranking.task, score=ranking.score)
