"""The questions a training process asks about its siblings; every one has a sensible answer when it is alone.

Processes are started by torchrun, which also says who they are (RANK, LOCAL_RANK, WORLD_SIZE).
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def rank() -> int:
    """Number of this process among all, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """Processes training together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def local_rank() -> int:
    """Number of this process on its machine, which is also the number of its GPU."""
    return int(os.environ.get("LOCAL_RANK", "0"))


@contextmanager
def process_group(device: torch.device) -> Iterator[None]:
    """Join the siblings torchrun started, if it did, and leave them at the end.

    CPU tensors always travel by gloo, so that a flag can be agreed on without waiting for the GPU.
    """
    if not dist.is_torchelastic_launched():
        yield
        return
    dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
    try:
        yield
    finally:
        dist.destroy_process_group()


@torch.no_grad()
def gather(x: Tensor) -> Tensor:
    """`[n, ...]` of every process as one `[world * n, ...]`, in rank order, without gradient."""
    if world_size() == 1:
        return x
    parts = x.new_empty((world_size() * x.shape[0], *x.shape[1:]))
    dist.all_gather_into_tensor(parts, x.contiguous())
    return parts


@torch.no_grad()
def mean(x: Tensor) -> Tensor:
    """Average of `x` over all processes."""
    if world_size() == 1:
        return x
    total = x.clone()
    dist.all_reduce(total)
    return total / world_size()


def from_first(x: Tensor) -> Tensor:
    """Rank 0's `x`, in every process."""
    if world_size() > 1:
        dist.broadcast(x, src=0)
    return x


def any_process(flag: bool) -> bool:
    """Whether `flag` is set in any process; all must ask together."""
    if world_size() == 1:
        return flag
    votes = torch.tensor([int(flag)], dtype=torch.int32)
    dist.all_reduce(votes, op=dist.ReduceOp.MAX)
    return bool(votes.item())


def barrier() -> None:
    """Wait until all processes are here."""
    any_process(False)


def collect(item: Any) -> list[Any]:
    """One picklable `item` of each process, in rank order, in every process."""
    if world_size() == 1:
        return [item]
    items: list[Any] = [None] * world_size()
    dist.all_gather_object(items, item)
    return items
