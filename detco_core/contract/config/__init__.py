"""The config of one pretraining run: a frozen tree, every field explained beneath itself.

Presets (`presets.py`) return whole trees; people change them by dotted overrides (`{"train.steps": 60}`).
Paper: DetCo, Xie et al., ICCV 2021. Where the paper is silent the choice is ours and docs/method.md says why.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from detco_core.contract.config.method import STAGES, MethodConfig, Stage, TermWeights
from detco_core.contract.config.training import DataConfig, DeviceConfig, OptimConfig, TrainConfig
from detco_core.contract.config.views import ViewsConfig
from detco_core.contract.config.watching import AlarmConfig, MonitorConfig, TrackConfig
from detco_core.contract.errors import Fault, InvalidDocument
from detco_core.contract.reader import plain, read, require

__all__ = [
    "STAGES",
    "AlarmConfig",
    "DataConfig",
    "DeviceConfig",
    "MethodConfig",
    "MonitorConfig",
    "OptimConfig",
    "RunConfig",
    "Stage",
    "TermWeights",
    "TrackConfig",
    "TrainConfig",
    "ViewsConfig",
    "override",
    "read_config",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class RunConfig:
    """Everything that decides the numbers of a pretraining run."""

    preset: str = "detco_r50"
    """The preset this tree started from; for the record only."""
    seed: int = 0
    """Of initial weights, queues, order and views."""
    train: TrainConfig = field(default_factory=TrainConfig)
    data: DataConfig = field(default_factory=DataConfig)
    views: ViewsConfig = field(default_factory=ViewsConfig)
    method: MethodConfig = field(default_factory=MethodConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    device: DeviceConfig = field(default_factory=DeviceConfig)
    monitor: MonitorConfig = field(default_factory=MonitorConfig)
    alarms: AlarmConfig = field(default_factory=AlarmConfig)
    track: TrackConfig = field(default_factory=TrackConfig)

    def __post_init__(self) -> None:
        require(0 <= self.seed < 2**63, "seed", "must be between 0 and 2**63 - 1")
        batch, queue = self.train.batch_size, self.method.queue_size
        require(queue % batch == 0, "method.queue_size", f"must be a multiple of train.batch_size ({batch})")
        if self.method.batch_norm == "split":
            # Of one process; more of them check their share when they build the network.
            images = batch // self.train.accumulate
            divides = images % self.method.batch_norm_group == 0
            require(divides, "method.batch_norm_group", f"must divide the {images} images computed at once")


def read_config(data: object) -> RunConfig:
    """Build a `RunConfig` from parsed JSON; raises `InvalidDocument` naming every unknown or wrong key."""
    return read(RunConfig, data, "run config")


def override(config: RunConfig, overrides: Mapping[str, Any]) -> RunConfig:
    """Apply dotted overrides, then validate the whole.

    Setting one of `train.steps` and `train.epochs` clears the other.

    Raises:
        InvalidDocument: naming every key that is unknown or every value that is wrong.
    """
    tree = plain(config)
    faults = tuple(fault for key, value in overrides.items() for fault in _set(tree, key, value))
    if faults:
        raise InvalidDocument("overrides", faults)
    for chosen, other in (("steps", "epochs"), ("epochs", "steps")):
        if overrides.get(f"train.{chosen}") is not None and f"train.{other}" not in overrides:
            tree["train"][other] = None
    return read_config(tree)


def _set(tree: dict[str, Any], dotted: str, value: Any) -> list[Fault]:
    *parents, leaf = dotted.split(".")
    node: Any = tree
    for part in parents:
        node = node.get(part) if isinstance(node, dict) else None
    if not isinstance(node, dict) or leaf not in node:
        known = ", ".join(node) if isinstance(node, dict) else ", ".join(tree)
        return [Fault(dotted, f"unknown key; known here: {known}")]
    node[leaf] = plain(value)
    return []
