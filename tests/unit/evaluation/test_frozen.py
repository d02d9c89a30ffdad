"""Features: one row an image, of length 1, equal to a loop over single images; progress that adds up."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from detco_core.contract.datasets import DatasetRef
from detco_core.contract.errors import NumericsError
from detco_core.contract.evaluations import Source
from detco_core.contract.events import Progress
from detco_core.evaluation.frozen import extract
from detco_core.evaluation.pixels import open_splits
from detco_core.evaluation.sources import FrozenBackbone, Values, open_source

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)


def mean_colour(images: torch.Tensor, stage: str) -> Values:
    means: Values = images.mean((2, 3)).numpy()
    return means


def colours(**changes: object) -> FrozenBackbone:
    fields = {"description": "colours", "mean": MEAN, "std": STD, "pooled": mean_colour}
    return FrozenBackbone(**(fields | changes))  # type: ignore[arg-type]  # a dict of mixed values


def slow_colours(image: torch.Tensor) -> NDArray[np.float64]:
    """The mean colour of a uint8 image, normalised as `colours` is, of length 1."""
    means = [image[c].double().mean().item() / 255 for c in range(3)]
    values = np.array([(m - mean) / std for m, mean, std in zip(means, MEAN, STD, strict=True)])
    length = float(sum(value**2 for value in values)) ** 0.5
    unit: NDArray[np.float64] = values / length
    return unit


def test_features_equal_a_loop_over_single_images(dataset: DatasetRef) -> None:
    splits = open_splits(dataset, 48)
    found = extract(colours(), splits, "res5", lambda progress: None, batch_size=5, workers=0)
    for features, split in zip(found, splits, strict=True):
        assert len(features.values) == len(split)
        for n in range(len(split)):
            image, label = split[n]
            np.testing.assert_allclose(features.values[n], slow_colours(image), atol=1e-5)
            assert features.labels[n] == label


@pytest.mark.slow
def test_batch_size_does_not_change_features(dataset: DatasetRef, random_r18: Source) -> None:
    splits = open_splits(dataset, 32)
    backbone = open_source(random_r18)
    one, many = (
        extract(backbone, splits, "res4", lambda progress: None, batch_size=size, workers=0)[0] for size in (1, 12)
    )
    assert one.values.shape == (12, 256)
    np.testing.assert_allclose(one.values, many.values, atol=1e-5)


def test_a_map_of_zeros_stays_zero_and_is_not_divided(dataset: DatasetRef) -> None:
    dead = colours(pooled=lambda images, stage: np.zeros((len(images), 4), np.float32))
    train, _ = extract(dead, open_splits(dataset, 32), "res5", lambda progress: None, batch_size=8, workers=0)
    assert not train.values.any()


def test_features_that_are_not_finite_are_refused(dataset: DatasetRef) -> None:
    diverged = colours(pooled=lambda images, stage: np.full((len(images), 4), np.nan, np.float32))
    with pytest.raises(NumericsError, match="not finite"):
        extract(diverged, open_splits(dataset, 32), "res5", lambda progress: None, batch_size=8, workers=0)


def test_progress_counts_images_of_both_splits(dataset: DatasetRef) -> None:
    told: list[Progress] = []
    extract(colours(), open_splits(dataset, 32), "res5", told.append, batch_size=5, workers=0)
    assert (told[0].step, told[0].steps) == (5, 24)
    assert (told[-1].step, told[-1].eta_seconds) == (24, 0.0)
    assert [event.step for event in told] == sorted({event.step for event in told})
