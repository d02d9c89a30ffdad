"""A few training steps on noise, the same for two processes with half of a batch each and for one with all of it."""

from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from detco_core.contract.config import RunConfig, override
from detco_core.contract.presets import preset
from detco_core.method.detco import DetCo, make_detco
from detco_core.method.shuffle import mine
from detco_core.runtime import distributed
from detco_core.views.pipeline import Views
from tests.networks import narrow_backbone

BATCH = 8


def config(**overrides: Any) -> RunConfig:
    """The smoke preset for a batch of 8; overrides as keyword `a__b`."""
    small = {"train.batch_size": BATCH, "method.queue_size": 32, "method.dim": 8}
    return override(preset("smoke"), {**small, **{key.replace("__", "."): v for key, v in overrides.items()}})


def make(config: RunConfig) -> DetCo:
    """The method in float64 around a narrow ResNet; the same weights in every process."""
    torch.manual_seed(0)
    return make_detco(config, narrow_backbone()).double()


def whole_batch(step: int) -> Views:
    generator = torch.Generator().manual_seed(step)
    shapes = (BATCH, 3, 32, 32), (BATCH, 3, 32, 32), (BATCH, 9, 3, 16, 16), (BATCH, 9, 3, 16, 16)
    return Views(*(torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes))


def train(method: DetCo, steps: int, cuts: int = 1) -> dict[str, Any]:
    """Train on this process's share, cut into micro-batches; losses of the whole batch, and the state at the end."""
    alone = distributed.world_size() == 1
    model: nn.Module = method if alone else DistributedDataParallel(method, broadcast_buffers=False)
    optimizer = torch.optim.SGD(method.query.parameters(), lr=0.01, momentum=0.9)
    losses = []
    for step in range(steps):
        method.move_key(0.999)
        optimizer.zero_grad()
        views = zip(*(mine(x).chunk(cuts) for x in whole_batch(step) if x is not None), strict=True)
        keys, loss = [], 0.0
        for part in views:
            output = model(Views(*part))
            # Without `no_sync` gradients are averaged once a part: slower, the same sum.
            (output.loss / cuts).backward()
            keys.append(output.keys)
            loss += distributed.mean(output.loss.detach()).item() / cuts
        optimizer.step()
        method.enqueue(keys)
        losses.append(loss)
    return {"losses": losses, "state": method.state_dict(), "batch_norm": method.batch_norm}
