"""An encoder: one backbone shared by global views and patches, with heads of each kind on each trained stage.

N batch, B channels of the image, S trained stages, P patches of an image, D dim.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from detco_core.nets.backbone import StageBackbone


class Embeddings(NamedTuple):
    """L2-normalised embeddings in float32 or better, one `[N, D]` per trained stage; none of a kind left out."""

    globals: tuple[Tensor, ...]
    locals: tuple[Tensor, ...]


class Encoder(nn.Module):
    """Backbone and heads; `stages` are the indices of the trained stages (0 is res2), in order.

    A kind without heads is never computed, nor is any stage behind the last one trained.
    """

    def __init__(
        self,
        backbone: StageBackbone,
        stages: Sequence[int],
        global_heads: Sequence[nn.Module],
        local_heads: Sequence[nn.Module],
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.stages = tuple(stages)
        self.global_heads = nn.ModuleList(global_heads)
        self.local_heads = nn.ModuleList(local_heads)

    def forward(self, image: Tensor | None, patches: Tensor | None) -> Embeddings:
        """Embed a global view, a local view, or both.

        Args:
            image: `[N, B, G, G]`, or None to leave the global heads out.
            patches: `[N, P, B, s, s]`, or None to leave the local heads out.
        """
        # Patches first: batch norm's running statistics, which evaluation and export use, then end on whole images.
        locals_ = () if patches is None else self._embed(patches.flatten(0, 1), self.local_heads)
        globals_ = () if image is None else self._embed(image, self.global_heads)
        return Embeddings(globals_, locals_)

    def _embed(self, images: Tensor, heads: nn.ModuleList) -> tuple[Tensor, ...]:
        maps = self.backbone(images, depth=self.stages[-1] + 1)
        return tuple(_normalise(head(maps[stage])) for stage, head in zip(self.stages, heads, strict=True))


def _normalise(x: Tensor) -> Tensor:
    # Not in half precision, also under autocast: the loss divides these by a small temperature.
    return functional.normalize(x.to(torch.promote_types(x.dtype, torch.float32)), dim=1)
