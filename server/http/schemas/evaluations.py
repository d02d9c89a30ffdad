"""Evaluations: what is posted, what is reported, how several compare."""

from pydantic import Field

from control.db.models import Run
from server.http.schemas.base import Body, Json, Options, Text, View
from server.http.schemas.jobs import JobRequest, JobView, Waiting, job_fields


class SourceRequest(Body):
    """Where the backbone comes from: a checkpoint of a run, an exported model, or nobody's training."""

    run: Text | None = None
    checkpoint: Text | None = None
    """Of the run: `last` (when it is left out), `best`, or an id."""
    model: Text | None = None
    """`name`, `name:version` or `name@alias`."""
    weights: Text | None = None
    """`random`: a backbone nobody trained, the floor every other score is read against; or the id of weights."""
    backbone: Text | None = None
    """Of random weights; `resnet18` when it is left out."""
    seed: int | None = Field(default=None, ge=0, lt=2**63)
    """Of random weights; the evaluation's when it is left out."""


class EvaluationRequest(JobRequest):
    """One task on one source and one data set."""

    task: Text
    source: SourceRequest
    dataset: Text
    """`name` (its newest version) or `name@version`."""
    options: Options = Field(default_factory=dict)
    """Of the task, e.g. `{"k": 20}`."""
    seed: int = Field(default=0, ge=0, lt=2**63)


class EvaluationEstimateView(View):
    """What an evaluation will take; null where it is not known."""

    seconds: float | None
    basis: str
    """Where the figure comes from: earlier evaluations of this service."""


class EvaluationPlanView(View):
    """What an evaluation would be: the answer to `dry_run=true`."""

    task: str
    source: Json
    """Resolved to ids."""
    dataset: str
    """`name@version`"""
    options: Json
    """All of them."""
    seed: int
    estimate: EvaluationEstimateView


class ReportView(View):
    """The result."""

    task: str
    protocol: str
    """One sentence that says how the scores came about."""
    scores: dict[str, float]
    details: Json = Field(default_factory=dict)


class EvaluationView(JobView):
    """An evaluation; `report` once it is completed."""

    task: str
    source: Json
    """Resolved to ids."""
    options: Json
    seed: int
    report: ReportView | None


class Comparison(View):
    """One group of evaluations of one task: each score over the group's members."""

    group: str | None
    task: str
    evaluations: list[str]
    scores: dict[str, "Spread"]


class Spread(View):
    """A score over the members of a group."""

    mean: float
    lowest: float
    highest: float
    stddev: float | None
    """Of the sample; null for one member."""
    count: int


class ComparisonTable(View):
    """The evaluations compared, and their groups."""

    items: list[EvaluationView]
    group_by: str | None
    groups: list[Comparison]


def evaluation_view(run: Run, waiting: Waiting) -> EvaluationView:
    spec = run.spec
    return EvaluationView(
        **job_fields(run, waiting),
        task=spec["task"],
        source=spec["source"],
        options=spec["options"],
        seed=spec["seed"],
        report=None if run.report is None else ReportView.model_validate(run.report),
    )
