"""How a run trains: length, data loading, optimizer and device."""

from dataclasses import dataclass
from typing import Literal

from detco_core.contract.reader import require


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """How long, how much at once, how often to save and to speak."""

    epochs: int | None = 200
    """Passes over the data set; None when `steps` is set."""
    steps: int | None = None
    """Optimizer steps; None when `epochs` is set."""
    batch_size: int = 256
    """Images a step, over all processes together."""
    accumulate: int = 1
    """Micro-batches a process makes of its share of a step; memory falls, batch norm sees a micro-batch at a time."""
    checkpoint_every: int = 1000
    """Steps between checkpoints; the last step always saves."""
    log_every: int = 10
    """Steps between metric events."""
    warm_start: bool = False
    """Refuse to start from random weights: the run needs `init` (weights, a model, or another run's checkpoint)."""

    def __post_init__(self) -> None:
        require((self.epochs is None) != (self.steps is None), "epochs", "set exactly one of epochs and steps")
        require(self.epochs is None or self.epochs >= 1, "epochs", "must be at least 1")
        require(self.steps is None or self.steps >= 1, "steps", "must be at least 1")
        require(self.batch_size >= 1, "batch_size", "must be at least 1")
        require(self.accumulate >= 1, "accumulate", "must be at least 1")
        require(self.batch_size % self.accumulate == 0, "accumulate", f"must divide batch_size ({self.batch_size})")
        require(self.checkpoint_every >= 1, "checkpoint_every", "must be at least 1")
        require(self.log_every >= 1, "log_every", "must be at least 1")


@dataclass(frozen=True, kw_only=True, slots=True)
class DataConfig:
    """How images reach the trainer."""

    workers: int = 4
    """Loader processes per training process; 0 loads in the training process. Never changes the numbers."""
    decode_short_side: int = 512
    """Images are opened at a reduced scale (a whole factor; JPEGs while decoding) as far as the short side stays at
    least this long, in pixels."""

    def __post_init__(self) -> None:
        require(0 <= self.workers <= 128, "workers", "must be between 0 and 128")
        require(self.decode_short_side >= 32, "decode_short_side", "must be at least 32")


@dataclass(frozen=True, kw_only=True, slots=True)
class OptimConfig:
    """SGD with a cosine schedule to zero."""

    lr: float = 0.03
    """For `train.batch_size` as it stands; never scaled silently."""
    momentum: float = 0.9
    """Of SGD."""
    weight_decay: float = 1e-4
    """L2 penalty on every weight."""
    warmup_steps: int = 0
    """Steps of linear warm-up before the cosine."""

    def __post_init__(self) -> None:
        require(self.lr > 0, "lr", "must be positive")
        require(0.0 <= self.momentum < 1.0, "momentum", "must be at least 0 and below 1")
        require(self.weight_decay >= 0, "weight_decay", "must not be negative")
        require(self.warmup_steps >= 0, "warmup_steps", "must not be negative")


@dataclass(frozen=True, kw_only=True, slots=True)
class DeviceConfig:
    """Where and in what precision the network runs."""

    kind: Literal["auto", "cpu", "cuda"] = "auto"
    """auto: CUDA when there is a device, else the CPU."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Autocast precision; fp16 adds a gradient scaler."""
    channels_last: bool = True
    """Keep tensors as NHWC in memory: faster convolutions, the same numbers up to rounding."""
    compile: bool = False
    """Compile the encoders with torch.compile: faster on a GPU after a slow start, the same numbers up to rounding."""
    deterministic: bool = True
    """Deterministic kernels only, so that a resumed run equals an undisturbed one bit for bit."""
    threads: int | None = None
    """Intra-op CPU threads per process; None leaves torch's choice."""

    def __post_init__(self) -> None:
        require(self.threads is None or self.threads >= 1, "threads", "must be at least 1")
