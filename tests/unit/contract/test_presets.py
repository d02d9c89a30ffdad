"""Every preset is a whole, valid config that says its own name."""

import json

import pytest

from detco_core.contract.config import RunConfig, read_config
from detco_core.contract.errors import InvalidDocument
from detco_core.contract.presets import PRESETS, preset
from detco_core.contract.reader import canonical_json


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_a_preset_round_trips_and_names_itself(name: str) -> None:
    config = preset(name)
    assert isinstance(config, RunConfig)
    assert config.preset == name
    assert read_config(json.loads(canonical_json(config))) == config


def test_the_public_presets_are_there() -> None:
    assert {"detco_r50", "detco_r50_aa", "detco_r18", "moco_v2_r50", "moco_v2_r18", "smoke"} <= set(PRESETS)


def test_detco_r50_is_the_published_recipe() -> None:
    """docs: reference tables of the paper and of MoCo v2, which it follows."""
    config = preset("detco_r50")
    assert config == RunConfig()
    assert (config.train.epochs, config.train.batch_size, config.optim.lr) == (200, 256, 0.03)
    assert (config.optim.momentum, config.optim.weight_decay) == (0.9, 1e-4)
    method = config.method
    assert (method.backbone, method.dim, method.queue_size, method.momentum) == ("resnet50", 128, 65536, 0.999)
    assert (method.temperature, method.stage_weights) == (0.2, (0.1, 0.4, 0.7, 1.0))
    views = config.views
    assert (views.global_size, views.local_size, views.patch_size, views.patches) == (224, 255, 64, 9)
    assert preset("detco_r50_aa").views.augment == "rand_augment"


def test_moco_has_one_term_on_the_last_stage() -> None:
    method = preset("moco_v2_r50").method
    assert method.stage_weights == (0.0, 0.0, 0.0, 1.0)
    assert (method.term_weights.g2g, method.term_weights.l2l, method.term_weights.l2g) == (1.0, 0.0, 0.0)


def test_smoke_is_detco_made_small() -> None:
    config = preset("smoke")
    assert (config.train.steps, config.train.batch_size, config.method.queue_size) == (20, 16, 256)
    assert config.method.stage_weights == preset("detco_r50").method.stage_weights


def test_an_unknown_preset_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(InvalidDocument, match=r"preset: 'detco' is not one of .*detco_r18.*smoke"):
        preset("detco")
