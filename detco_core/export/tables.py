"""The parameters that other libraries' ResNets have: their names and shapes, for where a library is not at hand.

Written from the libraries' own structure and held in the tests against what detectron2 0.6 and mmdetection 3.3.0 really
build; nothing here comes from our names.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

Shape = tuple[int, ...]
Table = dict[str, Shape]
Part = Literal["conv1", "conv2", "conv3", "shortcut"]


@dataclass(frozen=True, slots=True)
class ResNet:
    """The numbers of one architecture."""

    depth: int
    blocks: tuple[int, int, int, int]
    bottleneck: bool = True
    groups: int = 1
    width: int = 64
    """Channels of a group in res2's 3x3 convolutions."""


RESNETS = {
    "resnet18": ResNet(18, (2, 2, 2, 2), bottleneck=False),
    "resnet34": ResNet(34, (3, 4, 6, 3), bottleneck=False),
    "resnet50": ResNet(50, (3, 4, 6, 3)),
    "resnet101": ResNet(101, (3, 4, 23, 3)),
    "resnet152": ResNet(152, (3, 8, 36, 3)),
    "resnext50_32x4d": ResNet(50, (3, 4, 6, 3), groups=32, width=4),
    "resnext101_32x8d": ResNet(101, (3, 4, 23, 3), groups=32, width=8),
    "resnext101_64x4d": ResNet(101, (3, 4, 23, 3), groups=64, width=4),
    "wide_resnet50_2": ResNet(50, (3, 4, 6, 3), width=128),
    "wide_resnet101_2": ResNet(101, (3, 4, 23, 3), width=128),
}
"""By torchvision's name."""


def detectron2_table(architecture: str, in_channels: int = 3) -> Table:
    """As `build_resnet_backbone` names them: a norm hangs under its convolution, the downsampling is a shortcut."""

    def conv(stage: int, block: int, part: Part) -> tuple[str, str]:
        name = f"res{stage + 2}.{block}.{part}"
        return name, f"{name}.norm"

    return _table(RESNETS[architecture], in_channels, ("stem.conv1", "stem.conv1.norm"), conv)


def mmdetection_table(architecture: str, in_channels: int = 3) -> Table:
    """As mmdetection's `ResNet` and `ResNeXt` name them, and timm's `ResNet`: a norm stands beside its convolution."""

    def conv(stage: int, block: int, part: Part) -> tuple[str, str]:
        name = f"layer{stage + 1}.{block}"
        if part == "shortcut":
            return f"{name}.downsample.0", f"{name}.downsample.1"
        return f"{name}.{part}", f"{name}.bn{part[-1]}"

    return _table(RESNETS[architecture], in_channels, ("conv1", "bn1"), conv)


def _table(
    net: ResNet, in_channels: int, stem: tuple[str, str], names: Callable[[int, int, Part], tuple[str, str]]
) -> Table:
    table = dict(_normed(stem, (64, in_channels, 7, 7)))
    for stage, block, part, shape in _convolutions(net):
        table.update(_normed(names(stage, block, part), shape))
    return table


def _normed(names: tuple[str, str], shape: Shape) -> Iterator[tuple[str, Shape]]:
    """A convolution without bias and the batch norm behind it."""
    conv, norm = names
    yield f"{conv}.weight", shape
    for leaf in ("weight", "bias", "running_mean", "running_var"):
        yield f"{norm}.{leaf}", shape[:1]
    yield f"{norm}.num_batches_tracked", ()


def _convolutions(net: ResNet) -> Iterator[tuple[int, int, Part, Shape]]:
    before = 64
    for stage, blocks in enumerate(net.blocks):
        planes = 64 << stage
        inner = (net.width * net.groups) << stage if net.bottleneck else planes
        after = 4 * planes if net.bottleneck else planes
        for block in range(blocks):
            if net.bottleneck:
                yield stage, block, "conv1", (inner, before, 1, 1)
                yield stage, block, "conv2", (inner, inner // net.groups, 3, 3)
                yield stage, block, "conv3", (after, inner, 1, 1)
            else:
                yield stage, block, "conv1", (inner, before, 3, 3)
                yield stage, block, "conv2", (after, inner, 3, 3)
            if before != after:
                yield stage, block, "shortcut", (after, before, 1, 1)
            before = after
