"""One vector of a map's cells: their mean, or their generalised mean (GeM).

Radenovic, Tolias, Chum, "Fine-tuning CNN Image Retrieval with No Human Annotation", TPAMI 2019, equation 3.
"""

import numpy as np
from numpy.typing import NDArray

EPSILON = 1e-6
"""What smaller values, negative ones too, are raised to: a root of them may not exist. As in the authors' code."""


def mean(feature: NDArray[np.float32]) -> NDArray[np.float32]:
    """Over the cells: `[N, C, h, w]` to `[N, C]`."""
    averaged: NDArray[np.float32] = feature.mean(axis=(2, 3), dtype=np.float32)
    return averaged


def generalised_mean(feature: NDArray[np.float32], power: float) -> NDArray[np.float32]:
    """`(mean of max(x, EPSILON) ** power) ** (1 / power)` over the cells: `[N, C, h, w]` to `[N, C]`.

    Power 1 is the mean of what is positive; the higher, the nearer to the maximum.
    """
    raised = np.maximum(feature, np.float32(EPSILON))
    # Measured by each channel's peak, no power overflows; what vanishes beside it would not count.
    peak = np.minimum(raised.max(axis=(2, 3), keepdims=True), np.finfo(np.float32).max)
    raised /= peak
    np.power(raised, np.float32(power), out=raised)
    roots: NDArray[np.float32] = mean(raised) ** np.float32(1 / power) * peak[:, :, 0, 0]
    return roots
