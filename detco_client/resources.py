"""What the service returns, as typed dictionaries: the JSON itself, so `--json` prints what the API said.

The service may add fields at any time; these are the ones the API promises. Times are ISO 8601 in UTC, digests are
`sha256:` and hex digits.
"""

from typing import Any, Literal, TypedDict

State = Literal["queued", "starting", "running", "pausing", "paused", "cancelling", "cancelled", "completed", "failed"]
ENDED = frozenset({"completed", "failed", "cancelled"})
"""The states a job never leaves."""


class Resource(TypedDict):
    """What every object has."""

    id: str
    created_at: str
    created_by: str


class Progress(TypedDict):
    """How far a job is; `step` counts the units of its work."""

    step: int
    steps: int
    epoch: float
    epochs: float
    images_per_second: float
    data_wait: float
    eta_seconds: float | None


class Job(Resource):
    """What a run, an evaluation, an export and a scan have in common: the life of a job."""

    kind: str
    name: str | None
    labels: dict[str, str]
    group: str | None
    priority: int
    state: State
    desired_state: str
    reason: str | None
    attempt: int
    """Tries so far, the current one included."""
    progress: Progress | None
    queue_position: int | None
    """1 is next."""
    waiting_reason: str | None
    waiting_detail: str | None
    """A sentence that names what it waits for."""
    available_actions: list[str]
    dataset: str | None
    """`name@version`."""
    environment: dict[str, Any] | None
    usage: dict[str, float]
    started_at: str | None
    finished_at: str | None


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


class UsageRow(TypedDict):
    """What the jobs of one token, label, group or kind have taken."""

    key: str | None
    """None: jobs of no group."""
    jobs: int
    attempts: int
    gpu_seconds: float
    cpu_seconds: float | None
    bytes: int
    """That they have in the store now."""


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


class MetricPoint(TypedDict):
    """One point of a curve: one value, or what is kept of several of a long curve."""

    step: int
    key: str
    value: float
    """Of that step, the last of the point's."""
    first_step: int
    lowest: float
    highest: float
    count: int
    """How many values the point stands for."""


class Curve(TypedDict):
    """One metric of one run; the same place in every list is one point."""

    run: str
    key: str
    steps: list[int]
    values: list[float]
    first_steps: list[int]
    lowest: list[float]
    highest: list[float]
    counts: list[int]


class MetricSummary(TypedDict):
    """The newest and the extreme values of one metric."""

    key: str
    step: int
    value: float
    lowest: float
    highest: float


class RecordedEvent(TypedDict):
    """One event of a job, as it is kept."""

    id: int
    type: str
    time: str
    data: dict[str, Any]


class AttemptNode(TypedDict):
    """One host's part in an attempt that several hosts work on; node 0 leads."""

    node: int
    host: str
    slots: list[str]
    state: str
    reason: str | None
    exit_code: int | None
    started_at: str | None
    ended_at: str | None
    log_tail: str | None


class Attempt(Resource):
    """One try at a job by one worker, or by those of several hosts."""

    number: int
    state: str
    reason: str | None
    cause: str | None
    """Why it did not complete: `user`, `out_of_memory`, `crashed`, `idle`, ..."""
    exit_code: int | None
    signal: str | None
    """That it died of; there is no exit code then."""
    host: str
    started_at: str | None
    ended_at: str | None
    seconds: float | None
    """From claim to end."""
    log_tail: str | None
    nodes: list[AttemptNode]
    """Its hosts, when there are several."""


class ActionResult(TypedDict):
    """What became of one of many jobs that were asked for something."""

    id: str
    ok: bool
    state: State | None
    desired_state: str | None
    problem: dict[str, Any] | None


class ActionResults(TypedDict):
    """What became of each; `left` more of the group or label were not asked."""

    items: list[ActionResult]
    left: int


class ModelVersion(Resource):
    """One exported version of a model."""

    model: str
    version: int
    ref: str
    """`name:version`."""
    state: Literal["exporting", "ready", "failed"]
    reason: str | None
    files: dict[str, dict[str, Any]] | None
    """`bytes` and `sha256` by format."""
    weights_digest: str | None
    manifest: dict[str, Any] | None
    parity: dict[str, Any] | None
    lineage: dict[str, Any] | None
    license: str | None
    aliases: list[str]


class Model(Resource):
    """A name under which versions are counted."""

    name: str
    latest_version: int | None
    aliases: dict[str, int]
    """Version by alias."""


class Alias(TypedDict):
    """Where an alias points; `etag` is what `if_match` takes."""

    model: str
    alias: str
    version: int
    etag: str


class Info(TypedDict):
    """What the service is and what it takes."""

    version: str
    minimum_client: str
    limits: dict[str, int]
    formats: list[str]
    presets: list[str]
    tasks: list[str]
    dataset_kinds: list[str]
    default_model: str | None
