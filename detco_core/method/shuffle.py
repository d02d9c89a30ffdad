"""Shuffled batch norm: keys are computed in other company than their queries, so that batch statistics tell nothing.

MoCo, He et al. 2020, section 3.3. The images of all processes are dealt out again at random, the same way for global
views and patches, and the keys put back in order. With one process there is nobody to exchange with, unless batch norm
sees virtual groups.
N batch of this process, W processes.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from detco_core.contract.config import MethodConfig
from detco_core.runtime import distributed


@dataclass(frozen=True, slots=True)
class Deal:
    """One way to deal out the W * N images of a step; `order[i]` is the image that goes to place i, None: as it is."""

    order: Tensor | None
    """`[W * N]` int64, on the device of the images."""

    def out(self, x: Tensor) -> Tensor:
        """`[N, ...]` of this process's images in, `[N, ...]` of those dealt to it out."""
        return x if self.order is None else mine(distributed.gather(x)[self.order])

    def back(self, x: Tensor) -> Tensor:
        """`[N, ...]` computed from dealt images in, `[W * N, ...]` of all processes in the first order out."""
        everything = distributed.gather(x)
        return everything if self.order is None else everything[torch.argsort(self.order)]


def make_deal(images: Tensor, config: MethodConfig) -> Deal:
    """A deal of as many images as `images` has rows from each process, the same in all.

    Everybody keeps their own with `batch_norm` plain and sync, and with shuffle when there is one process: then no
    random number is drawn either.
    """
    world = distributed.world_size()
    if config.batch_norm not in ("shuffle", "split") or (config.batch_norm == "shuffle" and world == 1):
        return Deal(None)
    order = distributed.from_first(torch.randperm(images.shape[0] * world))
    if images.is_cuda:
        # From pinned memory, or the host would wait here for all the GPU still has to do.
        order = order.pin_memory().to(images.device, non_blocking=True)
    return Deal(order)


def mine(x: Tensor) -> Tensor:
    """The `[N, ...]` that belong to this process, of everybody's `[W * N, ...]`."""
    return x.chunk(distributed.world_size())[distributed.rank()]
