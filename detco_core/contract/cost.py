"""What a pretraining run costs by arithmetic: operations, memory and checkpoint bytes, from its config alone.

Legend: C channels of a stage, D embedding width, K queue length, P patches. Figures of the backbones are counted on
torchvision's networks at 224 x 224 without the classifier: multiply-adds, parameters, and elements of all convolution
outputs, which scale with the pixels.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from detco_core.contract.config import RunConfig

_FLOAT = 4
_BASIC, _BOTTLENECK = (64, 128, 256, 512), (256, 512, 1024, 2048)


@dataclass(frozen=True, slots=True)
class Network:
    """A backbone's size: giga multiply-adds, million parameters, million convolution outputs; C of res2..res5."""

    gmacs: float
    parameters: float
    outputs: float
    channels: tuple[int, int, int, int]


NETWORKS: Mapping[str, Network] = {
    "resnet18": Network(1.814, 11.18, 2.48, _BASIC),
    "resnet34": Network(3.663, 21.28, 3.74, _BASIC),
    "resnet50": Network(4.087, 23.51, 11.11, _BOTTLENECK),
    "resnet101": Network(7.799, 42.50, 16.23, _BOTTLENECK),
    "resnet152": Network(11.512, 58.14, 22.55, _BOTTLENECK),
    "resnext50_32x4d": Network(4.228, 22.98, 14.40, _BOTTLENECK),
    "resnext101_32x8d": Network(16.412, 86.74, 31.21, _BOTTLENECK),
    "wide_resnet50_2": Network(11.396, 66.83, 14.40, _BOTTLENECK),
    "wide_resnet101_2": Network(22.751, 124.84, 21.22, _BOTTLENECK),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """Of one run."""

    flops_per_image: float
    """Floating-point operations to train on one image: query forward and backward, key forward."""
    memory_bytes: int
    """Of one training process: weights, gradients, momentum, queues and activations."""
    checkpoint_bytes: int
    """Of one checkpoint."""


def cost(config: RunConfig, gpus: int = 1) -> Cost | None:
    """The cost of `config` on `gpus` processes; None for a backbone whose figures are not known here."""
    # timm's networks of these names are torchvision's.
    network = NETWORKS.get(config.method.backbone.removeprefix("timm/"))
    if network is None:
        return None
    weights = network.parameters * 1e6 + _heads(config, network)
    queues = _queues(config) * config.method.queue_size * config.method.dim
    pixels = _pixels(config)
    # Each convolution output is kept twice for the backward pass: as it is and after batch norm and ReLU.
    images = config.train.batch_size / gpus / config.train.accumulate
    activations = 2 * network.outputs * 1e6 * pixels * images
    # Both encoders, the gradients and the optimizer's momentum; a checkpoint leaves the gradients out.
    return Cost(
        flops_per_image=8 * network.gmacs * 1e9 * pixels,
        memory_bytes=int(_FLOAT * (4 * weights + queues + activations)),
        checkpoint_bytes=int(_FLOAT * (3 * weights + queues)),
    )


def _pixels(config: RunConfig) -> float:
    """Pixels an encoder sees of one image, in images of 224 x 224."""
    views = config.views
    return (views.global_size**2 + _local(config) * views.patches * views.patch_size**2) / 224**2


def _local(config: RunConfig) -> bool:
    """Whether the local views take part at all."""
    weights = config.method.term_weights
    return weights.l2l > 0 or weights.l2g > 0


def _stages(config: RunConfig, network: Network) -> list[int]:
    pairs = zip(network.channels, config.method.stage_weights, strict=True)
    return [channels for channels, weight in pairs if weight > 0]


def _queues(config: RunConfig) -> int:
    stages = sum(weight > 0 for weight in config.method.stage_weights)
    return stages * (1 + _local(config))


def _heads(config: RunConfig, network: Network) -> float:
    """Parameters of the projection heads (biases left out)."""
    dim, patches = config.method.dim, config.views.patches
    total = 0
    for c in _stages(config, network):
        total += c * c + c * dim
        if _local(config):
            total += {
                "narrow": patches * c * c + c * dim,
                "wide": (patches * c) ** 2 + patches * c * dim,
                "pirl": c * dim + patches * dim * dim,
            }[config.method.local_head]
    return float(total)
