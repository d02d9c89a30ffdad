"""Where a config leaves the published recipe, and only there."""

from typing import Any

import pytest

from detco_core.contract.config import override
from detco_core.contract.paper import deviations
from detco_core.contract.presets import preset


@pytest.mark.parametrize("name", ["detco_r50", "detco_r50_aa", "moco_v2_r50"])
def test_published_recipes_deviate_in_nothing(name: str) -> None:
    assert deviations(preset(name), gpus=8) == ()


@pytest.mark.parametrize(
    ("overrides", "key", "published", "here"),
    [
        ({"train.epochs": 3}, "train.epochs", "100 or 200 or 800 epochs of ImageNet-1k", 3),
        ({"train.steps": 60}, "train.steps", "100 or 200 or 800 epochs of ImageNet-1k", 60),
        ({"train.batch_size": 512}, "train.batch_size", 256, 512),
        ({"train.accumulate": 4}, "train.accumulate", 1, 4),
        ({"method.batch_norm": "split"}, "method.batch_norm", "shuffle", "split"),
        ({"method.momentum_schedule": "cosine"}, "method.momentum_schedule", "constant", "cosine"),
        ({"views.channels": 1}, "views.channels", 3, 1),
        ({"method.queue_size": 1024}, "method.queue_size", 65536, 1024),
        ({"method.term_weights.l2g": 0.0}, "method.term_weights.l2g", 1.0, 0.0),
        ({"views.grid": 1}, "views.grid", 3, 1),
        ({"optim.lr": 0.06}, "optim.lr", 0.03, 0.06),
        ({"device.precision": "bf16"}, "device.precision", "fp32", "bf16"),
    ],
)
def test_each_change_is_named(overrides: dict[str, Any], key: str, published: Any, here: Any) -> None:
    (found,) = deviations(override(preset("detco_r50"), overrides), gpus=8)
    assert (found.key, found.published, found.here) == (key, published, here)


@pytest.mark.parametrize(
    "overrides",
    [{"seed": 7}, {"data.workers": 0}, {"train.epochs": 800}, {"train.checkpoint_every": 5}, {"device.threads": 1}],
)
def test_what_is_free_is_no_deviation(overrides: dict[str, Any]) -> None:
    assert deviations(override(preset("detco_r50"), overrides), gpus=8) == ()


def test_one_process_cannot_shuffle() -> None:
    (found,) = deviations(preset("detco_r50"), gpus=1)
    assert (found.key, found.published, found.here) == ("gpus", 8, 1)
    assert "shuffle" in found.note


def test_stage_weights_read_from_json_are_the_published_ones() -> None:
    assert deviations(override(preset("detco_r50"), {"method.stage_weights": [0.1, 0.4, 0.7, 1.0]}), gpus=8) == ()
