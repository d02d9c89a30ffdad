"""Jobs of any kind, as the service returns them: their life, their attempts, and what became of asking many of them."""

from typing import Any, Literal, TypedDict

from detco_client.resources.base import Resource

State = Literal["queued", "starting", "running", "pausing", "paused", "cancelling", "cancelled", "completed", "failed"]
ENDED = frozenset({"completed", "failed", "cancelled"})
"""The states a job never leaves."""


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
