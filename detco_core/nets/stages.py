"""What every backbone is to the rest of the house: a network whose four stages, res2..res5, can be tapped.

N batch, B channels of the image, C channels of a stage, H and W of the image in pixels.
"""

from collections.abc import Iterator

from torch import Tensor, nn


class StageBackbone(nn.Module):
    """A stem and four stages, without a classifier; its `state_dict()` has the names of the library it comes from.

    Attributes:
        architecture: the name `make_backbone` takes, e.g. `resnet50` or `timm/convnext_atto`.
        in_channels: B.
        channels: C of res2..res5.
        strides: pixels of the image per cell of res2..res5.
    """

    architecture: str
    in_channels: int
    channels: tuple[int, ...]
    strides: tuple[int, ...]

    def forward(self, x: Tensor, depth: int = 4) -> tuple[Tensor, ...]:
        """Compute the first `depth` stages.

        Args:
            x: `[N, B, H, W]` float, normalised as the views are.
            depth: 1 computes res2 only, 4 all of res2..res5.

        Returns:
            One `[N, C, H / stride, W / stride]` map per stage; a fraction is rounded up where the network pads its
            input (all ResNets), down where it does not (ConvNeXt).
        """
        raise NotImplementedError

    def fits(self, side: int) -> bool:
        """Whether a square image of `side` pixels leaves at least one cell in every stage."""
        return side >= 1

    def idle(self, depth: int) -> Iterator[nn.Parameter]:
        """The weights that the first `depth` stages do not use."""
        raise NotImplementedError
