"""Where a config leaves the published recipe, and only there."""

import copy
from typing import Any

import pytest

from detco_core.contract.config import override
from detco_core.contract.paper import deviations
from detco_core.contract.presets import preset
from detco_core.contract.reader import plain


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
        ({"method.batch_norm": "sync"}, "method.batch_norm", "shuffle", "sync"),
        ({"method.backbone": "timm/convnext_atto"}, "method.backbone", "resnet50", "timm/convnext_atto"),
        ({"method.local_head": "pirl"}, "method.local_head", "narrow", "pirl"),
        ({"views.patch_colors": "patch"}, "views.patch_colors", "region", "patch"),
        ({"views.bit_depth": 16}, "views.bit_depth", 8, 16),
    ],
)
def test_each_change_is_named(overrides: dict[str, Any], key: str, published: Any, here: Any) -> None:
    (found,) = deviations(override(preset("detco_r50"), overrides), gpus=8)
    assert (found.key, found.published, found.here) == (key, published, here)


@pytest.mark.parametrize(
    "overrides",
    [
        {"seed": 7},
        {"data.workers": 0},
        {"train.epochs": 800},
        {"train.checkpoint_every": 5},
        {"device.threads": 1},
        {"device.compile": True},
        {"method.batch_norm_group": 8},
        {"views.rand_augment_magnitude": 3},
    ],
)
def test_what_is_free_is_no_deviation(overrides: dict[str, Any]) -> None:
    assert deviations(override(preset("detco_r50"), overrides), gpus=8) == ()


def test_a_setting_counts_once_what_it_belongs_to_is_switched_on() -> None:
    split = override(preset("detco_r50"), {"method.batch_norm": "split", "method.batch_norm_group": 8})
    assert {found.key for found in deviations(split)} == {"method.batch_norm", "method.batch_norm_group"}
    aa = override(preset("detco_r50_aa"), {"views.rand_augment_magnitude": 3})
    assert {found.key for found in deviations(aa, gpus=8)} == {"views.rand_augment_magnitude"}
    moco = override(preset("moco_v2_r50"), {"views.grid": 1, "method.local_head": "pirl"})
    assert deviations(moco, gpus=8) == ()


def test_every_setting_of_views_method_and_optimizer_is_compared() -> None:
    """Whatever field is added: all three branches are walked, and nothing in them is free."""
    here = plain(preset("detco_r50"))
    changed = {
        f"{branch}.{key}"
        for branch in ("views", "method", "optim")
        for key, value in here[branch].items()
        if not isinstance(value, dict)
    }
    idle = {"method.batch_norm_group", "views.rand_augment_ops", "views.rand_augment_magnitude"}
    config = preset("detco_r50")
    named = set()
    for dotted in changed - idle:
        branch, key = dotted.split(".")
        other = _with(config, branch, _with(getattr(config, branch), key, "something else"))
        named |= {found.key for found in deviations(other, gpus=8)}
    assert named == changed - idle


def _with(tree: Any, key: str, value: Any) -> Any:
    """A copy in which one field is `value`; not validated, since it need not be lawful."""
    copied = copy.copy(tree)
    object.__setattr__(copied, key, value)
    return copied


@pytest.mark.parametrize("gpus", [2, 16])
def test_another_number_of_processes_changes_what_batch_norm_sees(gpus: int) -> None:
    (found,) = deviations(preset("detco_r50"), gpus=gpus)
    assert (found.key, found.published, found.here) == ("gpus", 8, gpus)


def test_one_process_cannot_shuffle() -> None:
    (found,) = deviations(preset("detco_r50"), gpus=1)
    assert (found.key, found.published, found.here) == ("gpus", 8, 1)
    assert "shuffle" in found.note


def test_stage_weights_read_from_json_are_the_published_ones() -> None:
    assert deviations(override(preset("detco_r50"), {"method.stage_weights": [0.1, 0.4, 0.7, 1.0]}), gpus=8) == ()
