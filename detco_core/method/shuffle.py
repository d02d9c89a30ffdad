"""Shuffled batch norm: keys are computed in other company than their queries, so that batch statistics tell nothing.

MoCo, He et al. 2020, section 3.3. The images of all processes are dealt out again at random, the same way for global
views and patches, and the keys put back in order. With one process there is nobody to exchange with.
N batch of this process, W processes.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from detco_core.runtime import distributed


@dataclass(frozen=True, slots=True)
class Deal:
    """One way to deal out the W * N images of a step; `order[i]` is the image that goes to place i, None: as it is."""

    order: Tensor | None

    def out(self, x: Tensor) -> Tensor:
        """`[N, ...]` of this process's images in, `[N, ...]` of those dealt to it out."""
        return x if self.order is None else mine(distributed.gather(x)[self.order.to(x.device)])

    def back(self, x: Tensor) -> Tensor:
        """`[N, ...]` computed from dealt images in, `[W * N, ...]` of all processes in the first order out."""
        everything = distributed.gather(x)
        return everything if self.order is None else everything[torch.argsort(self.order).to(x.device)]


def make_deal(count: int, *, shuffle: bool) -> Deal:
    """A deal of `count` images from each process, the same in all; without `shuffle` everybody keeps their own."""
    if not shuffle or distributed.world_size() == 1:
        return Deal(None)
    return Deal(distributed.from_first(torch.randperm(count * distributed.world_size())))


def mine(x: Tensor) -> Tensor:
    """The `[N, ...]` that belong to this process, of everybody's `[W * N, ...]`."""
    return x.chunk(distributed.world_size())[distributed.rank()]
