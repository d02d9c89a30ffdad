"""What a job says while it runs: one JSON object a line in `events.jsonl`, appended by rank 0, read by the worker.

A line is `{"seq": 7, "time": 1770000000.5, "type": "progress", ...fields}`. `seq` counts from 1 within the file, so
(run, fence, seq) names an event for ever and a reader may take the same line twice without harm. A file an event names
is complete and on disk before the event is written; its path is relative to the job's folder.

How a job ends is its last event: `finished`, `stopped` or `error`. A file without one belongs to a process that was
killed.
"""

import json
from dataclasses import dataclass, field
from typing import Any, Literal

from detco_core.contract.errors import ErrorKind, Fault, InvalidDocument
from detco_core.contract.reader import canonical_json, plain, read

TRAINING_WARNINGS = {
    "bad_step": "a step gave NaN or infinity, changed nothing, and was kept for replay",
    "broken_images": "files that cannot be read; other images were taken in their place",
    "collapse": "embeddings that are all alike, or a term that stays at chance",
    "data_starvation": "the loaders are too slow: much of the time goes into waiting for data",
    "dataset_changed": "files have changed since their data set was scanned",
    "init_keys": "what the run started from, and which keys were taken over",
    "monitor_failed": "an evaluation of the run's monitor gave no score; said by the service",
    "queue_exceeds_dataset": "the queue is longer than the data set: images are negatives of themselves",
    "schedule_extended": "the run was made longer: its schedule is laid over the new length",
    "store_full": "there is no room in the artifact store: what the run saved waits on its worker; said by the service",
    "store_unavailable": "the artifact store cannot be reached: what the run saved waits on its worker; by the service",
    "tracking_failed": "TensorBoard or MLflow is told nothing any more",
    "views_without_color": "colour operations are left out, for images that are not RGB",
}
"""What `Warned.code` may be in a pretraining run."""

EXIT_STOPPED = 75
"""Exit code of a job that was asked to stop (SIGTERM), saved, and left; sysexits' EX_TEMPFAIL."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Started:
    """The job is set up and about to work; `environment` has version, commit, torch, cuda, gpus and what really ran."""

    environment: dict[str, Any]
    resumed_from: int | None = None
    """The step of the checkpoint this attempt continues from."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """How far the job is; for other jobs than pretraining a step is one unit of their work."""

    step: int
    steps: int
    epoch: float = 0.0
    """Passes over the data set made so far."""
    epochs: float = 0.0
    images_per_second: float = 0.0
    data_wait: float = 0.0
    """Share of the time spent waiting for data, 0..1."""
    eta_seconds: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Metrics:
    """Values of one step. Names: `loss`, `loss/g2g/res5`, `contrast_accuracy/g2g/res5`, `lr`, ..."""

    step: int
    values: dict[str, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckpointSaved:
    """A checkpoint is on disk, complete."""

    step: int
    epoch: float
    path: str
    bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ArtifactSaved:
    """Any other file to keep. `name` is unique within the run, e.g. `manifest.jsonl` or `bundle/model.onnx`."""

    name: str
    path: str
    bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Warned:
    """Something a person should know that did not stop the job. `code` is a stable word."""

    code: str
    message: str
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Reported:
    """The result of a job: an `evaluations.Report`, a `manifest.ExportReport` or a `datasets.ScanReport`."""

    report: dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Stopped:
    """Asked to stop; everything needed to continue was saved at `step`."""

    step: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Finished:
    """The job did all of its work."""

    step: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Failed:
    """The job cannot go on, and trying again would not help unless something is changed."""

    kind: ErrorKind
    message: str


Body = Started | Progress | Metrics | CheckpointSaved | ArtifactSaved | Warned | Reported | Stopped | Finished | Failed
EventType = Literal[
    "started",
    "progress",
    "metrics",
    "checkpoint",
    "artifact",
    "warning",
    "report",
    "stopped",
    "finished",
    "error",
]
TYPES: dict[str, type[Any]] = {
    "started": Started,
    "progress": Progress,
    "metrics": Metrics,
    "checkpoint": CheckpointSaved,
    "artifact": ArtifactSaved,
    "warning": Warned,
    "report": Reported,
    "stopped": Stopped,
    "finished": Finished,
    "error": Failed,
}
_NAMES: dict[type[Any], str] = {cls: name for name, cls in TYPES.items()}


@dataclass(frozen=True, slots=True)
class Event:
    """One line of `events.jsonl`."""

    seq: int
    time: float
    """Unix time in seconds, by the clock of the machine that wrote it."""
    body: Body

    @property
    def type(self) -> str:
        return _NAMES[type(self.body)]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Head:
    """What every line has."""

    seq: int
    time: float
    type: EventType


def encode(event: Event) -> str:
    """The event as one line of JSON, without the newline."""
    return canonical_json({"seq": event.seq, "time": event.time, "type": event.type, **plain(event.body)})


def decode(line: str) -> Event:
    """Read one line; raises `InvalidDocument` when it is not an event."""
    try:
        data = json.loads(line)
        head = read(_Head, {name: data.pop(name) for name in ("seq", "time", "type")}, "event")
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise InvalidDocument("event", (Fault("", f"not an event line: {line[:80]!r}"),)) from error
    return Event(head.seq, head.time, read(TYPES[head.type], data, f"event {head.seq} ({head.type})"))
