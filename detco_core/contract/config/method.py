"""The contrastive method: backbone, heads, queues, terms and batch norm (paper section 3)."""

from dataclasses import dataclass, field
from typing import Literal

from detco_core.contract.reader import require

Stage = Literal["res2", "res3", "res4", "res5"]
STAGES: tuple[Stage, ...] = ("res2", "res3", "res4", "res5")


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
    """A method of the catalog (`detco`, `moco_v2`) or one installed as an entry point of `detco.methods`."""
    backbone: str = "resnet50"
    """A torchvision ResNet, ResNeXt or WideResNet by name, or `timm/NAME` for a timm network of four stages."""
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
    momentum_schedule: Literal["constant", "cosine"] = "constant"
    """cosine: `momentum` rises to 1 over the run, half a cosine (BYOL, MoCo v3)."""
    stage_weights: tuple[float, float, float, float] = (0.1, 0.4, 0.7, 1.0)
    """For res2..res5; 0 leaves a stage out."""
    term_weights: TermWeights = field(default_factory=TermWeights)
    batch_norm: Literal["shuffle", "split", "sync", "plain"] = "shuffle"
    """shuffle: statistics per process, keys shuffled across processes (MoCo; with one process as plain, and the run's
    record says so). split: as shuffle, among virtual groups of `batch_norm_group` images, for one GPU. sync: over all
    processes. plain: per process, keys not shuffled."""
    batch_norm_group: int = 32
    """Images of a virtual group of `split`; divides what a process computes at once."""

    def __post_init__(self) -> None:
        require(self.dim >= 1, "dim", "must be at least 1")
        require(self.queue_size >= 1, "queue_size", "must be at least 1")
        require(self.temperature > 0, "temperature", "must be positive")
        require(0.0 <= self.momentum <= 1.0, "momentum", "must be between 0 and 1")
        require(self.batch_norm_group >= 2, "batch_norm_group", "must be at least 2")
        require(all(w >= 0 for w in self.stage_weights), "stage_weights", "must not be negative")
        require(any(w > 0 for w in self.stage_weights), "stage_weights", "at least one must be positive")
