"""The config of one pretraining run: a frozen tree, every field explained beneath itself.

Presets (`presets.py`) return whole trees; people change them by dotted overrides (`{"train.steps": 60}`).
Paper: DetCo, Xie et al., ICCV 2021. Where the paper is silent the choice is ours and docs/method.md says why.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from detco_core.contract.errors import Fault, InvalidDocument
from detco_core.contract.reader import plain, read, require

Stage = Literal["res2", "res3", "res4", "res5"]
STAGES: tuple[Stage, ...] = ("res2", "res3", "res4", "res5")


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """How long, how much at once, how often to save and to speak."""

    epochs: int | None = 200
    """Passes over the data set; None when `steps` is set."""
    steps: int | None = None
    """Optimizer steps; None when `epochs` is set."""
    batch_size: int = 256
    """Images a step, over all processes together."""
    checkpoint_every: int = 1000
    """Steps between checkpoints; the last step always saves."""
    log_every: int = 10
    """Steps between metric events."""

    def __post_init__(self) -> None:
        require((self.epochs is None) != (self.steps is None), "epochs", "set exactly one of epochs and steps")
        require(self.epochs is None or self.epochs >= 1, "epochs", "must be at least 1")
        require(self.steps is None or self.steps >= 1, "steps", "must be at least 1")
        require(self.batch_size >= 1, "batch_size", "must be at least 1")
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
class ViewsConfig:
    """The four transforms T1..T4 (paper section 3; reference recipe MoCo v2 for the global views)."""

    global_size: int = 224
    """Side of the two global views, in pixels."""
    global_scale: tuple[float, float] = (0.2, 1.0)
    """Share of the image area a global crop takes."""
    local_size: int = 255
    """Side of the region the patches are cut from, in pixels; a multiple of `grid`."""
    local_scale: tuple[float, float] = (0.6, 1.0)
    """Share of the image area the local region takes."""
    grid: int = 3
    """The region is cut into grid x grid cells, one patch each."""
    patch_size: int = 64
    """Side of a patch, cut at random inside its cell, in pixels."""
    flip: float = 0.5
    """Probability of a horizontal flip."""
    jitter: tuple[float, float, float, float] = (0.4, 0.4, 0.4, 0.1)
    """Strength of brightness, contrast, saturation and hue jitter."""
    jitter_probability: float = 0.8
    """Probability of color jitter."""
    grayscale_probability: float = 0.2
    """Probability of a view without color."""
    blur_probability: float = 0.5
    """Probability of a Gaussian blur."""
    blur_sigma: tuple[float, float] = (0.1, 2.0)
    """Range of the Gaussian blur's standard deviation, in pixels of the view."""
    rand_augment: bool = False
    """RandAugment on the global views only, after crop and flip (the "AA" variant)."""
    rand_augment_ops: int = 2
    """RandAugment operations a view."""
    rand_augment_magnitude: int = 10
    """On the usual scale of 0 to 30."""
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    """Per channel, of values in 0..1."""
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    """Per channel, of values in 0..1."""

    def __post_init__(self) -> None:
        require(self.global_size >= 32, "global_size", "must be at least 32")
        require(self.patch_size >= 16, "patch_size", "must be at least 16")
        require(self.grid >= 1, "grid", "must be at least 1")
        require(self.local_size % self.grid == 0, "local_size", f"must be a multiple of grid ({self.grid})")
        cell = self.local_size // self.grid
        require(cell >= self.patch_size, "patch_size", f"must fit a cell of {cell} pixels (local_size / grid)")
        for name in ("flip", "jitter_probability", "grayscale_probability", "blur_probability"):
            require(0.0 <= getattr(self, name) <= 1.0, name, "must be a probability between 0 and 1")
        for name in ("global_scale", "local_scale"):
            low, high = getattr(self, name)
            require(0.0 < low <= high <= 1.0, name, "must be two shares of the area, 0 < low <= high <= 1")
        require(0.0 < self.blur_sigma[0] <= self.blur_sigma[1], "blur_sigma", "must be 0 < low <= high")
        require(all(v >= 0 for v in self.jitter) and self.jitter[3] <= 0.5, "jitter", "must be >= 0, hue at most 0.5")
        require(1 <= self.rand_augment_ops <= 8, "rand_augment_ops", "must be between 1 and 8")
        require(0 <= self.rand_augment_magnitude <= 30, "rand_augment_magnitude", "must be between 0 and 30")
        require(all(v > 0 for v in self.std), "std", "must be positive")

    @property
    def patches(self) -> int:
        """Patches in one local view."""
        return self.grid * self.grid


@dataclass(frozen=True, kw_only=True, slots=True)
class TermWeights:
    """Weights of the three losses of a stage; 0 switches a term off."""

    g2g: float = 1.0
    """Global query against global key."""
    l2l: float = 1.0
    """Local query against local key."""
    l2g: float = 1.0
    """Local query against global key."""

    def __post_init__(self) -> None:
        for name in ("g2g", "l2l", "l2g"):
            require(getattr(self, name) >= 0, name, "must not be negative")
        require(self.g2g + self.l2l + self.l2g > 0, "g2g", "at least one of g2g, l2l and l2g must be positive")


@dataclass(frozen=True, kw_only=True, slots=True)
class MethodConfig:
    """The contrastive method."""

    name: str = "detco"
    """A method of the catalog: `detco` or `moco_v2`."""
    backbone: str = "resnet50"
    """A torchvision ResNet by name."""
    dim: int = 128
    """Width of an embedding."""
    local_head: Literal["narrow", "wide", "pirl"] = "narrow"
    """Local head: 9C-C-128 (narrow), 9C-9C-128 (wide), or each patch C-128 then 1152-128 (pirl)."""
    queue_size: int = 65536
    """Negatives held per stage and kind; a multiple of `train.batch_size`."""
    temperature: float = 0.2
    """What similarities are divided by: smaller makes the hard negatives count more."""
    momentum: float = 0.999
    """Of the key encoder: key = momentum * key + (1 - momentum) * query."""
    stage_weights: tuple[float, float, float, float] = (0.1, 0.4, 0.7, 1.0)
    """For res2..res5; 0 leaves a stage out."""
    term_weights: TermWeights = field(default_factory=TermWeights)
    shuffle_bn: bool = True
    """Shuffle keys across processes before batch norm; has no effect with one process, and the run's record says so."""

    def __post_init__(self) -> None:
        require(self.dim >= 1, "dim", "must be at least 1")
        require(self.queue_size >= 1, "queue_size", "must be at least 1")
        require(self.temperature > 0, "temperature", "must be positive")
        require(0.0 <= self.momentum <= 1.0, "momentum", "must be between 0 and 1")
        require(all(w >= 0 for w in self.stage_weights), "stage_weights", "must not be negative")
        require(any(w > 0 for w in self.stage_weights), "stage_weights", "at least one must be positive")


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
    deterministic: bool = True
    """Deterministic kernels only, so that a resumed run equals an undisturbed one bit for bit."""
    threads: int | None = None
    """Intra-op CPU threads per process; None leaves torch's choice."""

    def __post_init__(self) -> None:
        require(self.threads is None or self.threads >= 1, "threads", "must be at least 1")


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

    def __post_init__(self) -> None:
        require(0 <= self.seed < 2**63, "seed", "must be between 0 and 2**63 - 1")
        batch, queue = self.train.batch_size, self.method.queue_size
        require(queue % batch == 0, "method.queue_size", f"must be a multiple of train.batch_size ({batch})")


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
