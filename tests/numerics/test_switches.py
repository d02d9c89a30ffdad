"""The switches of `device` against plain fp32 in NCHW: how far the numbers move, at most (docs/training.md)."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from detco_core.contract.config import RunConfig, override
from detco_core.train.state import make_stateful
from detco_core.train.step import Stepper
from detco_core.views.pipeline import Views

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
STEPS = 2
PLAIN = {"device.precision": "fp32", "device.channels_last": False}
SMALL = {"train.batch_size": 4, "views.patch_size": 24, "views.local_size": 72, "method.dim": 16}
# CPUs compute half precision a hundred times slower than single: one term, two stages, two views.
GLOBAL = {"method.stage_weights": (0.1, 0.4, 0.0, 0.0), "method.term_weights": {"g2g": 1.0, "l2l": 0.0, "l2g": 0.0}}


def losses(config: RunConfig) -> list[float]:
    """Of a few steps over made-up views."""
    run = make_stateful(config, CPU)
    # At its first factor, 65536, the scaler would skip the first steps, as it should.
    scaler = torch.amp.GradScaler("cpu", init_scale=64.0, enabled=run.scaler.is_enabled())
    run = replace(run, scaler=scaler)
    stepper = Stepper(config=config, device=CPU, run=run, model=run.method, steps=STEPS)
    generator = torch.Generator().manual_seed(7)
    shapes = (4, 3, 32, 32), (4, 3, 32, 32), (4, 9, 3, 24, 24), (4, 9, 3, 24, 24)
    found = []
    for done in range(STEPS):
        views = Views(*(torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8) for shape in shapes))
        if not run.method.uses_patches:
            views = views._replace(local_query=None, local_key=None)
        outcome = stepper(stepper.prepare(views), done)
        assert outcome.skipped is None
        found.append(outcome.loss.item())
    return found


@pytest.mark.parametrize(
    ("switch", "method", "tolerance"),
    [
        ({"device.channels_last": True}, {}, 1e-4),
        ({"device.precision": "bf16"}, {}, 3e-2),
        ({"device.precision": "fp16"}, GLOBAL, 1e-3),
    ],
    ids=["channels_last", "bf16", "fp16"],
)
def test_a_switch_keeps_the_losses(
    tiny_config: RunConfig, switch: dict[str, Any], method: dict[str, Any], tolerance: float
) -> None:
    plain, switched = (losses(override(tiny_config, {**SMALL, **method, **PLAIN, **extra})) for extra in ({}, switch))
    assert switched == pytest.approx(plain, rel=tolerance)
    assert switched != plain
