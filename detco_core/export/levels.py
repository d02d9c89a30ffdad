"""What every exported file must compute: the four levels of a backbone, and the last one pooled.

N batch, B channels of the image, C channels of a level, H and W of the image in pixels.
"""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from detco_core.contract.config import STAGES
from detco_core.nets.backbone import StageBackbone

POOLED = "pooled"
OUTPUTS = (*STAGES, POOLED)

Array = NDArray[np.float32]
Levels = Callable[[Array], Mapping[str, Array]]
"""`[N, B, H, W]` float32, normalised -> the outputs by name."""


class LevelsAndPool(nn.Module):
    """A backbone's levels, then the last of them averaged over space."""

    def __init__(self, backbone: StageBackbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """`[N, B, H, W]` float32 -> four maps `[N, C, ceil(H / stride), ceil(W / stride)]` and `[N, C of res5]`."""
        maps = self.backbone(image)
        return (*maps, maps[-1].mean((2, 3)))


def torch_levels(backbone: StageBackbone) -> Levels:
    """The outputs of a backbone on the CPU, in float32: what an exported file is held to."""
    network = LevelsAndPool(backbone).eval()

    def run(images: Array) -> Mapping[str, Array]:
        with torch.inference_mode():
            return dict(zip(OUTPUTS, (output.numpy() for output in network(torch.from_numpy(images))), strict=True))

    return run
