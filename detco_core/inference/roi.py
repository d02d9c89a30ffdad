"""ROI-align: the features under a box, brought to a grid of fixed size (Mask R-CNN, He et al. 2017, section 3).

The values are those of `torchvision.ops.roi_align` with `aligned=True` and `sampling_ratio=SAMPLES`. Bilinear sampling
on a grid is separable, and so is the mean over the samples of a cell: a box is two small matrices, and its features are
one product with each. That needs no loop over samples, and reads only the rows and columns that samples lie between,
however large the box.

Shapes: K boxes, C channels, h x w cells of a level's map, S the side of the grid.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detco_core.contract.errors import ImageError
from detco_core.contract.manifest import Level
from detco_core.inference.pictures.preprocess import Geometry

Box = tuple[float, float, float, float]
"""x1, y1, x2, y2 in pixels of the oriented image; pixel (0, 0) spans 0..1 on both sides."""

SAMPLES = 2
"""Bilinear samples a grid cell takes along each side, as detectors are trained with."""

_SPARSE = 8
"""From so many cells a sample on, picking out the two it lies between costs less than reading all."""

_CANONICAL_SIDE, _CANONICAL_LEVEL = 224, 4
"""FPN (Lin et al. 2017, equation 1): a box of this side, in network pixels, belongs to the level of stride 2^4."""


@dataclass(frozen=True, slots=True)
class Regions:
    """The boxes of one image in the network's frame."""

    boxes: NDArray[np.float64]
    """`[K, 4]`: x1, y1, x2, y2 in network pixels, inside the image."""
    clipped: tuple[int, ...] = ()
    """Places in the list of those that stood out of the image."""

    def __len__(self) -> int:
        return len(self.boxes)


def place(boxes: Sequence[Box], geometry: Geometry) -> Regions:
    """Bring boxes of the oriented image to the network's frame, cut to the image.

    Raises:
        ImageError: `boxes`, naming the first that is not x1 < x2 and y1 < y2 inside the image; or they are no boxes.
    """
    given = _numbers(boxes)
    width, height = geometry.oriented
    inside = np.clip(given, 0, (width, height, width, height))
    empty = ~((inside[:, 2] > inside[:, 0]) & (inside[:, 3] > inside[:, 1]))
    if empty.any():
        first = int(np.flatnonzero(empty)[0])
        raise ImageError(
            "boxes",
            f"box {first} {given[first].tolist()} covers nothing of the image, which is {width}x{height}: give x1, y1, "
            "x2, y2 in pixels of the upright image, with x1 < x2 and y1 < y2",
        )
    clipped = tuple(np.flatnonzero((inside != given).any(axis=1)).tolist())
    return Regions(inside * np.tile(geometry.scale, 2), clipped)


def _numbers(boxes: object) -> NDArray[np.float64]:
    """`[K, 4]`."""
    try:
        given = np.asarray(boxes, np.float64)
    except (TypeError, ValueError) as error:
        raise ImageError("boxes", f"boxes are four numbers each, x1, y1, x2, y2: {error}") from error
    if given.size and (given.ndim != 2 or given.shape[1] != 4):
        raise ImageError("boxes", f"boxes are a list of [x1, y1, x2, y2], not of shape {list(given.shape)}")
    return given.reshape(-1, 4)


def roi_align(feature: NDArray[np.float32], regions: Regions, stride: int, size: int) -> NDArray[np.float32]:
    """The features under every box: `[1, C, h, w]` of a level -> `[K, C, S, S]`."""
    channels, height, width = feature.shape[1:]
    out = np.empty((len(regions), channels, size, size), np.float32)
    for box, target in zip(regions.boxes / stride, out, strict=True):
        columns, across = _weights(box[0], box[2], width, size)
        rows, down = _weights(box[1], box[3], height, size)
        np.matmul(down, feature[0][:, rows][:, :, columns] @ across.T, out=target)
    return out


def assign(regions: Regions, levels: Sequence[Level]) -> NDArray[np.intp]:
    """For each box the place in `levels` of the one it belongs to, by its size: `[K]`."""
    octaves = np.array([np.log2(level.stride) for level in levels])
    widths, heights = regions.boxes[:, 2] - regions.boxes[:, 0], regions.boxes[:, 3] - regions.boxes[:, 1]
    # The small term is torchvision's: a box of exactly the canonical side must not fall to the finer level.
    wanted = np.floor(_CANONICAL_LEVEL + np.log2(np.sqrt(widths * heights) / _CANONICAL_SIDE) + 1e-6)
    places: NDArray[np.intp] = np.abs(wanted[:, None] - octaves[None]).argmin(axis=1)
    return places


def _weights(low: float, high: float, cells: int, size: int) -> tuple[slice | NDArray[np.intp], NDArray[np.float32]]:
    """How much each cell of a row of `cells` counts in each of `size` bins of `low..high`, in cells: the cells to be
    read, and `[S, cells]`.
    """
    at = (low - 0.5) + (np.arange(size * SAMPLES) + 0.5) * ((high - low) / (size * SAMPLES))
    # Samples up to one cell outside count as the border; boxes lie inside the image, so none is farther.
    at = np.clip(at, 0, cells - 1)
    lower = np.minimum(at.astype(np.intp), cells - 1)
    upper = np.minimum(lower + 1, cells - 1)
    first, last = int(lower[0]), int(upper[-1])
    used = np.arange(first, last + 1) if last - first < _SPARSE * len(at) else np.union1d(lower, upper)
    weights = np.zeros((size, len(used)), np.float32)
    bins, share = np.repeat(np.arange(size), SAMPLES), (at - lower) / SAMPLES
    np.add.at(weights, (bins, np.searchsorted(used, lower)), 1 / SAMPLES - share)
    np.add.at(weights, (bins, np.searchsorted(used, upper)), share)
    # A slice is read where it lies.
    return slice(first, last + 1) if len(used) == last - first + 1 else used, weights
