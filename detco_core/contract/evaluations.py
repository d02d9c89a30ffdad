"""What an evaluation asks and what it reports.

To add a task: options here, a line in `TASKS` and in `SCORES`, and its file in `detco_core/evaluation`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from detco_core.contract.config import Stage
from detco_core.contract.config.views import MAX_CHANNELS
from detco_core.contract.errors import Fault, InvalidDocument
from detco_core.contract.reader import read, require
from detco_core.contract.weights import WeightsFormat


@dataclass(frozen=True, kw_only=True, slots=True)
class KnnOptions:
    """Weighted k-nearest-neighbour classification on frozen features (Wu et al., 2018: k 200, temperature 0.07)."""

    k: int = 20
    temperature: float = 0.07
    stage: Stage = "res5"
    """Features are this stage, average-pooled and L2-normalised."""
    image_size: int = 224
    """The image is resized to 256/224 of this on its short side, then centre-cropped to this, in pixels."""
    batch_size: int = 32
    workers: int = 2

    def __post_init__(self) -> None:
        require(self.k >= 1, "k", "must be at least 1")
        require(self.temperature > 0, "temperature", "must be positive")
        require(32 <= self.image_size <= 2048, "image_size", "must be between 32 and 2048")
        require(self.batch_size >= 1, "batch_size", "must be at least 1")
        require(0 <= self.workers <= 128, "workers", "must be between 0 and 128")


TASKS: Mapping[str, type[Any]] = {"knn": KnnOptions}
Better = Literal["higher", "lower"]
SCORES: Mapping[str, Mapping[str, Better]] = {
    "knn": {"top1": "higher", "top5": "higher", "mean_per_class": "higher"},
}
"""The scores each task always reports, and which of two is the better one; the first ranks when none is named."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """Where the evaluated backbone comes from, as the job's process sees it."""

    kind: Literal["checkpoint", "bundle", "weights", "random"]
    path: str | None = None
    """The checkpoint, bundle folder or weights file; None for `random`."""
    sha256: str | None = None
    format: WeightsFormat | None = None
    """Of a `weights` source; None: recognised by its keys."""
    backbone: str = "resnet50"
    """Architecture of a `random` or `weights` source."""
    channels: int | None = None
    """Of the images that a `random` or `weights` source takes; None: 3, or what all images of the data set have where
    that cannot be brought to 3."""
    seed: int = 0
    """Of a `random` source."""

    def __post_init__(self) -> None:
        require((self.path is None) == (self.kind == "random"), "path", "is needed for all sources but random")
        most = MAX_CHANNELS
        require(self.channels is None or 1 <= self.channels <= most, "channels", f"must be between 1 and {most}")


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationSpec:
    """One evaluation; `options` are read as the task's own dataclass (`read_options`)."""

    task: str
    source: Source
    options: dict[str, Any] = field(default_factory=dict)
    seed: int = 0

    def __post_init__(self) -> None:
        require(self.task in TASKS, "task", f"{self.task!r} is not one of {', '.join(TASKS)}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """The result of an evaluation."""

    task: str
    protocol: str
    """One sentence that says how the scores came about."""
    scores: dict[str, float]
    """By name, e.g. `top1`, in percent."""
    details: dict[str, Any] = field(default_factory=dict)


def better(task: str, score: str) -> Better:
    """Whether the higher or the lower of two values of a score is the better one; `higher` for one not in `SCORES`."""
    return SCORES.get(task, {}).get(score, "higher")


def read_options(task: str, options: Mapping[str, Any]) -> Any:
    """The task's options dataclass from a mapping.

    Raises:
        InvalidDocument: on an unknown task, an unknown option, or a value out of range.
    """
    if task not in TASKS:
        raise InvalidDocument("evaluation", (Fault("task", f"{task!r} is not one of {', '.join(TASKS)}"),))
    return read(TASKS[task], options, f"options of {task}")
