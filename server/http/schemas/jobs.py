"""What a run, an evaluation, an export and a scan have in common: the life of a job, its events and its files."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

from pydantic import Field

from control.db.models import Artifact, Attempt, AttemptNode, Run, RunEvent
from control.records.runs.bounds import HIGHEST, LOWEST
from control.states import Action, Cause, DesiredState, State, available_actions
from server.http.schemas.base import Body, Json, Labels, Resource, Text, View

Grace = Annotated[float, Field(ge=0, le=86400, allow_inf_nan=False)]
Seconds = Annotated[float, Field(ge=1, le=10 * 366 * 86400, allow_inf_nan=False)]


class JobRequest(Body):
    """What may be said of any job that is submitted."""

    name: Text | None = None
    labels: Labels = Field(default_factory=dict)
    group: Text | None = None
    priority: int = Field(default=0, ge=LOWEST, le=HIGHEST)
    """Larger is more urgent."""
    max_attempts: int = Field(default=3, ge=1, le=100)
    """Tries that may fail by the job's own fault."""
    max_seconds: Seconds | None = None
    """Workers may work on it this long, all tries together; then it saves, and ends as failed."""
    idle_seconds: Seconds | None = None
    """Its process may be silent this long before it is taken for hung; null: the service's setting."""
    grace_seconds: Grace | None = None
    """Between asking its process to save and leave and ending it; null: the service's setting."""
    after: Annotated[tuple[Text, ...], Field(max_length=100)] = ()
    """Ids of jobs of any kind that must be completed first."""


class TrainingRequest(JobRequest):
    """What may be said of any training run that is submitted."""

    preemptible: bool = True
    """Whether it may be asked to save and make room for a more urgent run."""
    preempt: bool = False
    """Whether less urgent runs are asked to make room for it."""


class ProgressView(View):
    """How far a job is; `step` counts the units of its work."""

    step: int
    steps: int
    epoch: float = 0.0
    epochs: float = 0.0
    images_per_second: float = 0.0
    data_wait: float = 0.0
    """Share of the time spent waiting for data, 0..1."""
    eta_seconds: float | None = None


class Usage(View):
    """What a job has taken."""

    gpu_seconds: float
    cpu_seconds: float | None
    """Of its ended attempts, on the hosts that led them; null where none was measured."""
    bytes: int
    """Of checkpoints and other files in the store."""


class Waiting(View):
    """Where a queued job stands; all null for one that does not wait."""

    queue_position: int | None = None
    """1 is next."""
    waiting_reason: str | None = None
    waiting_detail: str | None = None
    saved: bool = False
    """Nobody works on it and it has a checkpoint."""


class JobView(Resource):
    """The life of a job."""

    kind: str
    name: str | None
    labels: dict[str, str]
    group: str | None
    priority: int
    state: State
    desired_state: DesiredState
    reason: str | None
    attempt: int
    """Tries so far, the current one included."""
    max_attempts: int
    """Tries that may fail by its own fault."""
    max_seconds: float | None
    """Workers may work on it this long, all tries together; null: as long as it needs."""
    idle_seconds: float | None
    """Its process may be silent this long before it is taken for hung; null: the service's setting."""
    grace_seconds: float | None
    """Between asking its process to save and leave and ending it; null: the service's setting."""
    preemptible: bool
    """Whether it may be asked to save and make room for a more urgent run."""
    preempt: bool
    """Whether less urgent runs are asked to make room for it."""
    progress: ProgressView | None
    queue_position: int | None
    """1: none would be taken before it."""
    waiting_reason: str | None
    """A stable word."""
    waiting_detail: str | None
    """A sentence that names what it waits for."""
    available_actions: tuple[Action, ...]
    dataset: str | None
    """`name@version`"""
    environment: Json | None
    usage: Usage
    started_at: datetime | None
    finished_at: datetime | None


def actions_of(run: Run, *, saved: bool = False) -> tuple[Action, ...]:
    """What may be asked of a job now; only a pretraining run has something to show for being finished early."""
    return tuple(a for a in available_actions(run.state, saved=saved) if a != "finish" or run.kind == "pretrain")


def job_fields(run: Run, waiting: Waiting) -> dict[str, Any]:
    """The fields of a `JobView` from a row."""
    same = (
        *("id", "created_at", "created_by", "kind", "name", "labels", "group", "priority", "state", "desired_state"),
        *("reason", "attempt", "max_attempts", "max_seconds", "idle_seconds", "grace_seconds", "preemptible"),
        *("preempt", "progress"),
        *("dataset", "environment", "started_at", "finished_at"),
    )
    return {field: getattr(run, field) for field in same} | {
        "queue_position": waiting.queue_position,
        "waiting_reason": waiting.waiting_reason,
        "waiting_detail": waiting.waiting_detail,
        "available_actions": actions_of(run, saved=waiting.saved),
        "usage": Usage(gpu_seconds=run.gpu_seconds, cpu_seconds=run.cpu_seconds, bytes=run.stored_bytes),
    }


class EventView(View):
    """One thing that happened to a job; ids grow, so `after` and `Last-Event-ID` miss nothing."""

    id: int
    type: str
    time: datetime
    data: Json


class NodeView(View):
    """One host's part in an attempt that several hosts work on."""

    node: int
    """0 leads."""
    host: str
    slots: list[str]
    state: str
    """`waiting`, `starting`, `running`, then how it ended."""
    reason: str | None
    exit_code: int | None
    started_at: datetime | None
    ended_at: datetime | None
    log_tail: str | None
    """The last lines it wrote, once it has ended; those of node 0 are the attempt's."""


class AttemptView(Resource):
    """One try of a job by one worker, or by those of several hosts."""

    number: int
    state: str
    """`starting`, `running`, then how it ended: `completed`, `stopped`, `failed`, `lost` or `preempted`."""
    reason: str | None
    cause: Cause | None
    """Why it did not complete; null when it did, or left because a person asked."""
    error_kind: str | None
    """Of its own last event."""
    exit_code: int | None
    """Null while it runs, and when it died of a signal."""
    signal: str | None
    host: str
    slots: list[str]
    started_at: datetime | None
    ended_at: datetime | None
    seconds: float | None
    """From claim to end; null while it runs."""
    log_tail: str | None
    """The last lines it wrote, once it has ended."""
    nodes: list[NodeView]
    """Its hosts, when there are several; `host` and `slots` are those of node 0."""


class ArtifactView(Resource):
    """Any other file a job leaves."""

    name: str
    bytes: int
    sha256: str


def event_view(event: RunEvent) -> EventView:
    return EventView(id=event.id, type=event.type, time=event.time, data=event.payload)


def attempt_view(attempt: Attempt, nodes: Sequence[AttemptNode] = ()) -> AttemptView:
    same = (name for name in AttemptView.model_fields if name not in ("seconds", "nodes"))
    seconds = (attempt.ended_at - attempt.created_at).total_seconds() if attempt.ended_at else None
    hosts = [NodeView.model_validate(node, from_attributes=True) for node in nodes]
    return AttemptView(**{name: getattr(attempt, name) for name in same}, seconds=seconds, nodes=hosts)


def artifact_view(row: Artifact) -> ArtifactView:
    return ArtifactView(
        id=row.id,
        created_at=row.created_at,
        created_by=row.created_by,
        name=row.name,
        bytes=row.bytes,
        sha256=row.digest,
    )
