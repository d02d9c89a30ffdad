"""The momentum pair: a key encoder that follows the query encoder slowly (MoCo, He et al. 2020, section 3.2)."""

import copy
import math
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from detco_core.contract.config import MethodConfig

M = TypeVar("M", bound=nn.Module)


def make_key(query: M) -> M:
    """A copy of the query encoder that no gradient reaches; it starts equal to it."""
    return copy.deepcopy(query).requires_grad_(False)


def momentum_at(config: MethodConfig, step: int, steps: int) -> float:
    """Momentum of step `step` (from 0) of `steps`, by `momentum_schedule`.

    constant: `momentum` throughout (MoCo). cosine: from `momentum` at the first step towards 1 after the last,
    1 - (1 - momentum) * (1 + cos(pi * step / steps)) / 2 (BYOL, Grill et al. 2020; MoCo v3).
    """
    if config.momentum_schedule == "constant":
        return config.momentum
    return 1 - (1 - config.momentum) * (1 + math.cos(math.pi * step / steps)) / 2


@torch.no_grad()
def move_key(key: nn.Module, query: nn.Module, momentum: float) -> None:
    """Move every weight in place: key = momentum * key + (1 - momentum) * query.

    Buffers stay: the key encoder's batch norm keeps the statistics of what it sees itself.
    """
    move = get_ema_multi_avg_fn(momentum)  # type: ignore[no-untyped-call]  # torch has no annotation here
    move(list(key.parameters()), list(query.parameters()), 0)


@torch.no_grad()
def distance(key: nn.Module, query: nn.Module) -> Tensor:
    """How far the key encoder is behind: |key - query| / |query| over all weights together, a scalar."""
    apart = [k - q for k, q in zip(key.parameters(), query.parameters(), strict=True)]
    return nn.utils.get_total_norm(apart) / nn.utils.get_total_norm(list(query.parameters()))
