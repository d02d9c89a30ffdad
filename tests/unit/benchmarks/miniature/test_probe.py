import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from benchmarks.miniature.probe import DRAWS, PER_CLASS, draw, few_label_top1, fit, standardise
from detco_core.evaluation.frozen import Features

Floats = NDArray[np.float64]


def slow_fit(x: Floats, labels: NDArray[np.int64], classes: int, penalty: float) -> tuple[Floats, Floats]:
    """Plain gradient descent, image by image."""
    weight, bias = np.zeros((classes, x.shape[1])), np.zeros(classes)
    for _ in range(1200):
        d_weight, d_bias = penalty * weight, np.zeros(classes)
        for row, label in zip(x, labels, strict=True):
            scores = weight @ row + bias
            chances = np.exp(scores - scores.max())
            chances /= chances.sum()
            chances[label] -= 1
            d_weight += np.outer(chances, row) / len(x)
            d_bias += chances / len(x)
        weight, bias = weight - 0.5 * d_weight, bias - 0.5 * d_bias
    return weight, bias


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("penalty", [0.1, 1.0])
def test_the_fit_is_that_of_plain_gradient_descent(classes: int, penalty: float) -> None:
    rng = np.random.default_rng(classes)
    x, labels = rng.normal(size=(6, 2)), np.arange(6) % classes
    weight, bias = slow_fit(x, labels, classes, penalty)

    fitted = fit(torch.from_numpy(x), torch.from_numpy(labels), classes, penalty)

    np.testing.assert_allclose(fitted.weight.numpy(), weight, atol=1e-5)
    np.testing.assert_allclose(fitted.bias.numpy(), bias, atol=1e-5)


def test_standardised_features_have_mean_0_and_deviation_1_and_constant_ones_stay_0() -> None:
    rng = np.random.default_rng(0)
    train = rng.normal(3, 5, (50, 4)).astype(np.float32)
    train[:, 2] = 7
    x, y = standardise(train, train[:3])

    np.testing.assert_allclose(x.mean(dim=0), 0, atol=1e-12)
    np.testing.assert_allclose(x.std(dim=0, correction=0), [1, 1, 0, 1], atol=1e-12)
    assert torch.equal(y, x[:3])


def test_a_draw_has_as_many_of_each_class_and_is_the_same_each_time() -> None:
    labels = np.repeat([0, 1, 2], [30, 12, 4])
    chosen = draw(labels, 10, 1)

    assert np.bincount(labels[chosen]).tolist() == [10, 10, 4]
    assert len(set(chosen.tolist())) == len(chosen)
    assert chosen.tolist() == draw(labels, 10, 1).tolist()
    assert chosen.tolist() != draw(labels, 10, 2).tolist()


@pytest.mark.slow
def test_classes_that_lie_apart_are_told_apart_and_noise_is_not() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(400) % 4
    noise = rng.normal(size=(400, 8)).astype(np.float32)
    apart = noise + 10 * np.eye(4, 8, dtype=np.float32)[labels]

    train, val = (Features(apart[part], labels[part]) for part in (slice(0, 200), slice(200, 400)))
    assert few_label_top1(train, val) == [100.0] * DRAWS

    train, val = (Features(noise[part], labels[part]) for part in (slice(0, 200), slice(200, 400)))
    assert 15 < np.mean(few_label_top1(train, val)) < 35
    assert PER_CLASS * 4 < 200
