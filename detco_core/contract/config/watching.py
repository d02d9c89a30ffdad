"""How a run is watched: the evaluations that rank its checkpoints, its alarms, and who else is told its metrics."""

from dataclasses import dataclass

from detco_core.contract.reader import require


@dataclass(frozen=True, kw_only=True, slots=True)
class MonitorConfig:
    """The dependent evaluations that define the run's best checkpoint; without a task there is no best."""

    task: str | None = None
    """An evaluation task, e.g. `knn`."""
    dataset: str | None = None
    """`name` or `name@version` of a labelled data set."""
    every_epochs: int = 10
    """Epochs between two of these evaluations."""
    metric: str = "top1"
    """The score, of those the task reports, that ranks checkpoints."""

    def __post_init__(self) -> None:
        require((self.task is None) == (self.dataset is None), "dataset", "set task and dataset together")
        require(self.every_epochs >= 1, "every_epochs", "must be at least 1")


@dataclass(frozen=True, kw_only=True, slots=True)
class AlarmConfig:
    """When a run warns a person; each alarm is told once until it is over. 0 switches the first three off."""

    collapse_std: float = 0.1
    """Embedding std, as a share of its full 1 / sqrt(dim), under which an embedding counts as collapsed when it stays
    there for `stuck_steps`: a fresh network starts that flat."""
    stuck_steps: int = 1000
    """Steps in a row after which a term whose loss is still at chance, ln(queue_size + 1), counts as stuck."""
    data_wait: float = 0.5
    """Share of the time spent waiting for data above which the loaders are too slow."""
    skip_bad_steps: int = 0
    """Steps in a row with a NaN or infinite loss that are skipped, each saved for replay, before the run is stopped."""

    def __post_init__(self) -> None:
        require(0.0 <= self.collapse_std <= 1.0, "collapse_std", "must be between 0 and 1")
        require(self.stuck_steps >= 0, "stuck_steps", "must not be negative")
        require(0.0 <= self.data_wait <= 1.0, "data_wait", "must be between 0 and 1")
        require(self.skip_bad_steps >= 0, "skip_bad_steps", "must not be negative")


@dataclass(frozen=True, kw_only=True, slots=True)
class TrackConfig:
    """Other programs that are told the metrics; TensorBoard event files are always written."""

    mlflow_uri: str | None = None
    """Tracking server or folder of MLflow; None: not told. Needs the extra `mlflow`."""
    mlflow_experiment: str = "detco"
    """Experiment the run is filed under."""
