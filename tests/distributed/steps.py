"""A few training steps on noise, the same for two processes with half of a batch each and for one with all of it."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from detco_core.contract.config import RunConfig, override
from detco_core.contract.presets import preset
from detco_core.method.detco import DetCo, make_detco
from detco_core.method.shuffle import mine
from detco_core.nets.stages import StageBackbone
from detco_core.runtime import distributed
from detco_core.runtime.device import make_scaler
from detco_core.runtime.optim import make_optimizer
from detco_core.train.state import Stateful
from detco_core.train.step import Stepper, each
from detco_core.views.pipeline import Views
from tests.networks import narrow_backbone, narrow_convnext

BATCH = 8


def config(**overrides: Any) -> RunConfig:
    """The smoke preset for a batch of 8; overrides as keyword `a__b`."""
    small = {"train.batch_size": BATCH, "method.queue_size": 32, "method.dim": 8}
    return override(preset("smoke"), {**small, **{key.replace("__", "."): v for key, v in overrides.items()}})


def make(config: RunConfig, backbone: Callable[[], StageBackbone] = narrow_backbone) -> DetCo:
    """The method in float64 around a narrow network; the same weights in every process."""
    torch.manual_seed(0)
    return make_detco(config, backbone()).double()


def make_without_batch_norm() -> DetCo:
    """As `make`, around a narrow ConvNeXt."""
    return make(config(), narrow_convnext)


def whole_batch(step: int, patch: int = 16) -> Views:
    generator = torch.Generator().manual_seed(step)
    shapes = (BATCH, 3, 32, 32), (BATCH, 3, 32, 32), (BATCH, 9, 3, patch, patch), (BATCH, 9, 3, patch, patch)
    return Views(*(torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes))


def train(method: DetCo, steps: int, cuts: int = 1, patch: int = 16) -> dict[str, Any]:
    """Train on this process's share, cut into micro-batches; losses of the whole batch, and the state at the end."""
    alone = distributed.world_size() == 1
    model: nn.Module = method if alone else DistributedDataParallel(method, broadcast_buffers=False)
    settings = config(train__accumulate=cuts, optim__lr=0.01)
    cpu = torch.device("cpu")
    run = Stateful(
        method=method,
        optimizer=make_optimizer(method.query.parameters(), settings.optim),
        scaler=make_scaler(settings.device, cpu),
    )
    step = Stepper(config=settings, device=cpu, run=run, model=model, steps=steps)
    losses = [distributed.mean(step(each(whole_batch(done, patch), mine), done).loss).item() for done in range(steps)]
    return {"losses": losses, "state": method.state_dict(), "batch_norm": method.batch_norm}
