"""Weighted k-nearest-neighbour votes (Wu et al., 2018, section 3.4), and how often the true class wins.

n training images, m validation images, D width of a feature, C classes, k neighbours.
"""

import numpy as np
from numpy.typing import NDArray

from detco_core.evaluation.frozen import Features, Labels, Values

Votes = NDArray[np.float64]

_CHUNK = 2**22
"""Similarities held at once."""


def count_votes(train: Features, queries: Values, classes: int, k: int, temperature: float) -> Votes:
    """For each query, the votes its k nearest training images give to their classes: exp(cosine / temperature) each.

    A vote counts relative to the nearest neighbour's, so that no temperature overflows. Among images equally near at
    the k-th place the lower class goes first, so that the order of the training images does not matter.

    Args:
        train: features `[n, D]`.
        queries: features `[m, D]`.
        classes: C.
        k: between 1 and n.
        temperature: positive.

    Returns:
        `[m, C]`; 0 for a class without a neighbour.
    """
    order = np.argsort(train.labels, kind="stable")
    values, labels = train.values[order], train.labels[order]
    rows = max(1, _CHUNK // len(labels))
    return np.concatenate(
        [
            _votes(queries[start : start + rows] @ values.T, labels, classes, k, temperature)
            for start in range(0, len(queries), rows)
        ]
    )


def hits(votes: Votes, labels: Labels, top: int) -> NDArray[np.bool_]:
    """Whether the true class is among the `top` classes of most votes, `[m]`; of equal votes the lower class is first.

    A class without a vote is never a hit, however few classes have one.
    """
    true = np.take_along_axis(votes, labels[:, None], axis=1)
    lower = np.arange(votes.shape[1]) < labels[:, None]
    ahead: Labels = np.sum((votes > true) | ((votes == true) & lower), axis=1)
    return (ahead < top) & (true[:, 0] > 0)


def _votes(similarity: Values, labels: Labels, classes: int, k: int, temperature: float) -> Votes:
    """Votes `[r, C]` from similarities `[r, n]` to training images that are ordered by label."""
    rows = len(similarity)
    nearest = _nearest(similarity, k)
    near = np.take_along_axis(similarity, nearest, axis=1).astype(np.float64)
    weights = np.exp((near - near.max(axis=1, keepdims=True)) / temperature)
    cells = np.arange(rows)[:, None] * classes + labels[nearest]
    votes: Votes = np.bincount(cells.ravel(), weights.ravel(), rows * classes).astype(np.float64)
    return votes.reshape(rows, classes)


def _nearest(similarity: Values, k: int) -> Labels:
    """Places of the k largest of each row, `[r, k]`, in rising order; of equal ones the first go in."""
    least = np.partition(similarity, -k, axis=1)[:, -k, None]
    above, level = similarity > least, similarity == least
    room = k - above.sum(axis=1, keepdims=True)
    taken = above | (level & (level.cumsum(axis=1, dtype=np.int32) <= room))
    return np.nonzero(taken)[1].reshape(len(similarity), k)
