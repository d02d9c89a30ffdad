"""Everything a run must carry over a stop, as one dict of tensors and plain values, and back."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from detco_core.contract.config import RunConfig
from detco_core.contract.errors import CheckpointError
from detco_core.method.catalog import make_method
from detco_core.method.detco import DetCo
from detco_core.runtime import distributed
from detco_core.runtime.device import make_scaler, memory_format
from detco_core.runtime.optim import make_optimizer
from detco_core.runtime.seeding import random_state, restore_random_state, seed_all


@dataclass(frozen=True, kw_only=True, slots=True)
class Stateful:
    """What changes while a run trains, besides its position."""

    method: DetCo
    """Both encoders, heads, queues and their pointer."""
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler


def make_stateful(config: RunConfig, device: torch.device) -> Stateful:
    """A run at step 0, with the random weights and queues of its seed."""
    seed_all(config.seed)
    method = make_method(config).to(device).to(memory_format=memory_format(config.device)).train()
    return Stateful(
        method=method,
        optimizer=make_optimizer(method.query.parameters(), config.optim),
        scaler=make_scaler(config.device, device),
    )


def collect(run: Stateful) -> dict[str, Any]:
    """The state of all; every process must take part, since each has random numbers of its own."""
    return {
        "method": run.method.state_dict(),
        "optimizer": run.optimizer.state_dict(),
        "scaler": run.scaler.state_dict(),
        "random": distributed.collect(random_state()),
    }


def restore(run: Stateful, state: Mapping[str, Any]) -> None:
    """Put back what `collect` gave.

    Raises:
        CheckpointError: the state is of another network or optimizer.
    """
    try:
        run.method.load_state_dict(state["method"])
        run.optimizer.load_state_dict(state["optimizer"])
        run.scaler.load_state_dict(state["scaler"])
    except (RuntimeError, ValueError, KeyError) as error:
        raise CheckpointError(f"the checkpoint does not fit this run: {error}") from error
    states = state["random"]
    # With another number of processes (the caller asked for consent) a new one takes the first one's numbers.
    restore_random_state(states[distributed.rank()] if distributed.rank() < len(states) else states[0])
