import pytest

from detco_core.contract.config import override
from detco_core.contract.presets import preset
from examples.demo import recipe


@pytest.mark.parametrize("photos", [16, 21, 22, 64, 100, 5000, 10**6])
def test_the_recipe_is_a_config_for_any_number_of_photos(photos: int) -> None:
    config = override(preset(recipe.PRESET), recipe.pretraining(photos))
    assert config.train.batch_size == recipe.BATCH <= config.method.queue_size <= max(photos, recipe.BATCH)
    assert config.train.steps == recipe.STEPS


def test_the_untrained_run_starts_where_the_trained_one_does() -> None:
    before = override(preset(recipe.PRESET), recipe.untrained(64))
    after = override(preset(recipe.PRESET), recipe.pretraining(64))
    assert before.train.steps == 1
    assert (before.seed, before.method, before.views) == (after.seed, after.method, after.views)
