"""Pooling of cells against loops in Python's own numbers."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detco_core.contract.features import MAX_GEM_P
from detco_core.inference.pooling import EPSILON, generalised_mean, mean


def slow(feature: np.ndarray, power: float) -> np.ndarray:
    """Equation 3 as it is written, one channel after the other, with the authors' clamp."""
    images, channels, height, width = feature.shape
    out = np.zeros((images, channels))
    for n in range(images):
        for channel in range(channels):
            cells = [max(float(feature[n, channel, y, x]), 1e-6) for y in range(height) for x in range(width)]
            out[n, channel] = (sum(cell**power for cell in cells) / len(cells)) ** (1 / power)
    return out


@given(
    power=st.floats(1, 12),
    scale=st.sampled_from([1e-5, 1.0, 300.0]),
    shape=st.tuples(st.integers(1, 2), st.integers(1, 4), st.integers(1, 6), st.integers(1, 6)),
    seed=st.integers(0, 100),
)
def test_the_generalised_mean_is_the_papers(
    power: float, scale: float, shape: tuple[int, int, int, int], seed: int
) -> None:
    feature = (scale * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32)
    pooled = generalised_mean(feature, power)
    assert pooled.dtype == np.float32
    np.testing.assert_allclose(pooled, slow(feature, power), rtol=3e-5)


def test_it_lies_between_mean_and_maximum() -> None:
    feature = np.random.default_rng(0).uniform(0, 200, (1, 5, 7, 9)).astype(np.float32)
    np.testing.assert_allclose(generalised_mean(feature, 1.0), mean(feature), rtol=1e-5)
    rising = [generalised_mean(feature, power) for power in (1.0, 3.0, 10.0, MAX_GEM_P)]
    assert all((low < high).all() for low, high in pairwise(rising))
    assert (rising[-1] <= feature.max(axis=(2, 3))).all()


@pytest.mark.parametrize("power", [1.0, 3.0, MAX_GEM_P])
def test_edges(power: float) -> None:
    negative = np.full((1, 1, 2, 2), -5, np.float32)
    np.testing.assert_allclose(generalised_mean(negative, power), [[EPSILON]], rtol=1e-5)
    largest = np.full((1, 1, 2, 2), np.finfo(np.float32).max, np.float32)
    np.testing.assert_allclose(generalised_mean(largest, power), largest[:, :, 0, 0], rtol=1e-5)
    mixed = np.array([1.0, np.nan, 2.0, 3.0], np.float32).reshape(1, 1, 2, 2)
    assert np.isnan(generalised_mean(mixed, power)).all()
    assert generalised_mean(np.zeros((0, 3, 2, 2), np.float32), power).shape == (0, 3)
