"""A linear probe with few labels: multinomial logistic regression with an L2 penalty, on frozen features.

Protocol: each feature is standardised with the mean and standard deviation of all training images (which takes no
labels); `PER_CLASS` labelled training images a class are drawn; the regression is fitted to them by L-BFGS in float64;
top-1 on all validation images. Mean over `DRAWS` draws, the same for every backbone. The penalty is fixed, not tuned.

n images, D width of a feature, C classes.
"""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from detco_core.evaluation.frozen import Features, Labels

PER_CLASS = 10
DRAWS = 5
PENALTY = 0.1
"""Weight of the sum of squared weights, halved, beside the mean cross-entropy."""
_ITERATIONS = 500


class Linear(NamedTuple):
    """A fitted classifier; the highest score wins."""

    weight: Tensor
    """`[C, D]`"""
    bias: Tensor
    """`[C]`, not penalised."""

    def scores(self, features: Tensor) -> Tensor:
        """`[n, D]` -> `[n, C]`."""
        return functional.linear(features, self.weight, self.bias)


def few_label_top1(train: Features, val: Features) -> list[float]:
    """Top-1 on `val`, in percent, of each draw of labelled images from `train`."""
    x, y = standardise(train.values, val.values)
    classes = int(train.labels.max()) + 1
    truth = torch.from_numpy(val.labels)
    shares = []
    for number in range(DRAWS):
        chosen = draw(train.labels, PER_CLASS, number)
        fitted = fit(x[torch.from_numpy(chosen)], torch.from_numpy(train.labels[chosen]), classes, PENALTY)
        shares.append(100 * float((fitted.scores(y).argmax(dim=1) == truth).double().mean()))
    return shares


def standardise(train: NDArray[np.float32], other: NDArray[np.float32]) -> tuple[Tensor, Tensor]:
    """Both as float64, less the mean of `train` and over its standard deviation, feature by feature."""
    x, y = torch.from_numpy(train).double(), torch.from_numpy(other).double()
    mean, std = x.mean(dim=0), x.std(dim=0, correction=0)
    # A feature that is the same everywhere stays 0.
    std[std == 0] = 1
    return (x - mean) / std, (y - mean) / std


def draw(labels: Labels, per_class: int, number: int) -> Labels:
    """Places of `per_class` images of each class (all of a class that has fewer), drawn anew for each `number`."""
    rng = np.random.default_rng(number)
    chosen = [rng.permutation(np.flatnonzero(labels == c))[:per_class] for c in np.unique(labels)]
    return np.concatenate(chosen)


def fit(features: Tensor, labels: Tensor, classes: int, penalty: float) -> Linear:
    """Minimise mean cross-entropy + penalty / 2 * |weight|^2 from zero weights.

    Args:
        features: `[n, D]` float64.
        labels: `[n]` int64.
        classes: C.
        penalty: positive; makes the weights unique.
    """
    weight = torch.zeros(classes, features.shape[1], dtype=features.dtype, requires_grad=True)
    bias = torch.zeros(classes, dtype=features.dtype, requires_grad=True)
    lbfgs = torch.optim.LBFGS(
        [weight, bias],
        max_iter=_ITERATIONS,
        tolerance_grad=1e-8,
        tolerance_change=1e-12,
        line_search_fn="strong_wolfe",
    )

    def objective() -> Tensor:
        lbfgs.zero_grad()
        scores = functional.linear(features, weight, bias)
        loss = functional.cross_entropy(scores, labels) + penalty / 2 * weight.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]  # torch has no annotation here
        return loss

    lbfgs.step(objective)  # type: ignore[no-untyped-call]  # torch has no annotation here
    return Linear(weight.detach(), bias.detach())
