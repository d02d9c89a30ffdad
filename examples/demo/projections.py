"""Turns dense features into something to look at: three principal components as colors, and similarity to a point."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Map = NDArray[Any]
"""Features of one level of one image: `[C, H, W]`."""


def pca_rgb(features: Map) -> NDArray[Any]:
    """The three strongest components of a map's directions as red, green and blue: `[H, W, 3]` in 0..1.

    Positions are compared by direction (each divided by its norm), so that brightness of activation does not drown what
    kind of thing it is. The outermost cells, which see the padding, are colored but do not choose the components. A
    component's sign is free; it is chosen so that the same map always gives the same colors.
    """
    cells = _directions(features)
    inner = _inner(features.shape[1], features.shape[2])
    mean = cells[inner].mean(0)
    _, _, axes = np.linalg.svd(cells[inner] - mean, full_matrices=False)
    axes = np.pad(axes, ((0, max(0, 3 - len(axes))), (0, 0)))[:3]
    axes *= np.sign(axes[np.arange(3), np.abs(axes).argmax(1)] + 1e-30)[:, None]
    scores = (cells - mean) @ axes.T
    low, high = np.percentile(scores[inner], (2, 98), axis=0)
    height, width = features.shape[1:]
    shares: NDArray[Any] = np.clip((scores - low) / np.maximum(high - low, 1e-12), 0, 1)
    return shares.reshape(height, width, 3)


def similarity(features: Map, point: tuple[float, float]) -> NDArray[Any]:
    """Cosine similarity of every position to the one at `point`: `[H, W]` in -1..1.

    The map's mean direction is taken away first: after a ReLU all directions are alike, and it is the difference
    between positions that is of interest. `point` is (x, y) as shares of width and height.
    """
    height, width = features.shape[1:]
    cells = _directions(features)
    cells = cells - cells.mean(0)
    cells /= np.maximum(np.linalg.norm(cells, axis=1, keepdims=True), 1e-12)
    column, row = min(int(point[0] * width), width - 1), min(int(point[1] * height), height - 1)
    alike: NDArray[Any] = np.clip(cells @ cells[row * width + column], -1, 1)
    return alike.reshape(height, width)


def _inner(height: int, width: int) -> NDArray[np.bool_]:
    """Which cells are not at the border, where there are any that are not."""
    inside = np.zeros((height, width), bool)
    inside[1:-1, 1:-1] = True
    return inside.ravel() if inside.any() else np.ones(height * width, bool)


def _directions(features: Map) -> NDArray[Any]:
    """`[H * W, C]`, each row of length 1."""
    cells = features.reshape(len(features), -1).T.astype(np.float64)
    directions: NDArray[Any] = cells / np.maximum(np.linalg.norm(cells, axis=1, keepdims=True), 1e-12)
    return directions
