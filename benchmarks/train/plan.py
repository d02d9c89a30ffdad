"""What is measured: a preset on a device, in a precision, with a batch; and the names of the parts of its step."""

from dataclasses import dataclass
from enum import StrEnum

import torch

from benchmarks.train.spans import Clock, CpuClock, GpuClock
from detco_core.contract.config import RunConfig, override
from detco_core.contract.presets import preset

_FOREVER = 1_000_000
"""Steps no benchmark gets to: no checkpoint is written, no schedule ends."""


class Part(StrEnum):
    """The parts of a step, in the table's order and words."""

    DECODE = "input: decode"
    VIEWS = "input: four views"
    PREPARE = "copy to the device, to floats"
    QUERY_FORWARD = "query forward"
    QUERY_BACKWARD = "query backward"
    KEY_FORWARD = "key forward"
    CONTRAST = "contrast and queues"
    MOMENTUM = "momentum"
    OPTIMIZER = "optimizer"
    MONITORS = "monitors, events, the rest"


INPUT_PARTS = (Part.DECODE, Part.VIEWS)


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """One table."""

    preset: str
    kind: str
    """`cpu` or `cuda`."""
    precision: str
    batch: int
    threads: int
    """Of torch in the training process; input is measured on one."""
    log_every: int
    """A step in so many computes and tells the monitors."""
    workers: int
    """Loader processes; only for the batches that are loaded beforehand."""
    deterministic: bool = False
    small: bool = False
    """Tiny views and a short queue: to see that everything runs."""

    @property
    def config(self) -> RunConfig:
        """The run's config: the preset's, but for where and how much."""
        changes = {
            "train.steps": _FOREVER,
            "train.checkpoint_every": _FOREVER,
            "train.log_every": self.log_every,
            "train.batch_size": self.batch,
            "data.workers": self.workers,
            "device.kind": self.kind,
            "device.precision": self.precision,
            "device.deterministic": self.deterministic,
            "device.threads": self.threads,
        }
        tiny = {
            "views.global_size": 64,
            "views.local_size": 96,
            "views.patch_size": 32,
            "method.queue_size": self.batch,
        }
        return override(preset(self.preset), changes | (tiny if self.small else {}))

    @property
    def device(self) -> torch.device:
        return torch.device(self.kind)

    def clock(self) -> Clock[float] | Clock[torch.cuda.Event]:
        """CPU seconds on the CPU, the GPU's own time on a GPU."""
        return GpuClock() if self.kind == "cuda" else CpuClock()
