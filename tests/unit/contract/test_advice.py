"""Warnings before a run: queue sizes for data sets, and colours that are not there."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detco_core.contract.advice import advice, recommended_queue_size, views_without_color
from detco_core.contract.config import MethodConfig, RunConfig, TrainConfig, ViewsConfig


@pytest.mark.parametrize(
    ("images", "queue"),
    [
        *((1, 1), (50, 16), (63, 16), (64, 32), (1000, 256), (20_000, 8192), (100_000, 32_768), (131_072, 32_768)),
        *((200_000, 32_768), (200_001, 65_536), (1_281_167, 65_536)),
    ],
)
def test_recommended_sizes(images: int, queue: int) -> None:
    assert recommended_queue_size(images) == queue


@given(images=st.integers(2, 130_000))
def test_a_quarter_to_a_half_of_the_data_set(images: int) -> None:
    queue = recommended_queue_size(images)
    assert queue & (queue - 1) == 0
    assert images / 4 < queue <= images / 2 or queue == 32_768


@given(images=st.integers(1, 2_000_000), batch=st.integers(1, 4096))
def test_whole_batches_and_at_least_one(images: int, batch: int) -> None:
    queue = recommended_queue_size(images, batch)
    assert queue % batch == 0
    assert batch <= queue <= max(batch, recommended_queue_size(images))
    RunConfig(train=TrainConfig(batch_size=batch), method=MethodConfig(queue_size=queue))


def test_a_queue_longer_than_the_data_is_told_with_the_remedy() -> None:
    config = RunConfig(train=TrainConfig(batch_size=48), method=MethodConfig(queue_size=960))
    (found,) = advice(config, 500)
    assert found.code == "queue_exceeds_dataset"
    assert found.details == {"queue_size": 960, "images": 500, "recommended": 96}
    assert "recommended is 96" in found.message
    assert advice(config, 960) == advice(config, None) == ()


def test_colours_that_are_not_there_are_told_once_and_only_if_asked_for() -> None:
    for views in (ViewsConfig(), ViewsConfig(channels=1, jitter_probability=0, grayscale_probability=0)):
        assert views_without_color(views) == ()
    views = ViewsConfig(channels=5)
    (found,) = views_without_color(views)
    assert (found.code, found.details) == ("views_without_color", {"channels": 5})
    assert views_without_color(replace(views, jitter=(0, 0, 0, 0), grayscale_probability=0)) == ()
    assert advice(RunConfig(views=views), 10**6) == (found,)
