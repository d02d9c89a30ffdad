"""What is asked of a network's levels, and how its raw maps become the answer: pooled, normalised, cast.

Shapes: N images, C channels, h x w cells of a level's map.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from detco_core.contract.manifest import Level, Manifest
from detco_core.contract.reader import require
from detco_core.inference.preprocess import Geometry
from detco_core.inference.session import POOLED

Pool = Literal["none", "avg"]
DType = Literal["float32", "float16"]
Normalize = Literal["none", "l2"]

_EPSILON = 1e-12
"""As torch.nn.functional.normalize: a zero vector stays zero."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """Which levels, and in what form."""

    levels: tuple[str, ...] | None = None
    """None: `res5`, or the last the model has."""
    pool: Pool = "none"
    """`avg`: mean over the cells that padding did not make."""
    normalize: Normalize = "none"
    """`l2`: each vector (of a cell, or pooled) to length 1, before the cast."""
    dtype: DType = "float32"

    def __post_init__(self) -> None:
        require(self.levels is None or bool(self.levels), "levels", "must name at least one level")
        unique = self.levels is None or len(set(self.levels)) == len(self.levels)
        require(unique, "levels", "names a level twice")

    def levels_of(self, manifest: Manifest) -> tuple[Level, ...]:
        """The levels asked for; raises `BundleError` naming those there are."""
        if self.levels is not None:
            return tuple(manifest.level(name) for name in self.levels)
        return (next((level for level in manifest.levels if level.name == "res5"), manifest.levels[-1]),)

    def size_of(self, manifest: Manifest, geometry: Geometry) -> int:
        """Bytes of one image's tensors."""
        width = np.dtype(self.dtype).itemsize
        return width * sum(int(np.prod(self._shape(level, geometry))) for level in self.levels_of(manifest))

    def _shape(self, level: Level, geometry: Geometry) -> tuple[int, ...]:
        if self.pool == "avg":
            return (1, level.channels)
        height, width = -(-geometry.network.height // level.stride), -(-geometry.network.width // level.stride)
        return (1, level.channels, height, width)


class Finished(NamedTuple):
    """One level's answer for one image."""

    level: Level
    array: NDArray[Any]
    """`[1, C, h, w]`, or `[1, C]` pooled, of the dtype asked for."""
    overflow: int
    """Values too large for float16, which became infinite."""


def needed(selection: Selection, manifest: Manifest, geometry: Geometry) -> tuple[str, ...]:
    """The ONNX outputs to compute for one image."""
    return tuple(_source(selection, level, manifest, geometry) for level in selection.levels_of(manifest))


def finish(
    selection: Selection, manifest: Manifest, geometry: Geometry, maps: Mapping[str, NDArray[np.float32]]
) -> list[Finished]:
    """The raw maps of one image as they were asked for."""
    finished = []
    for level in selection.levels_of(manifest):
        source = _source(selection, level, manifest, geometry)
        feature = maps[source]
        if selection.pool == "avg" and source != POOLED:
            cells = geometry.cells(level.stride)
            feature = feature[:, :, : cells.height, : cells.width].mean(axis=(2, 3), dtype=np.float32)
        if selection.normalize == "l2":
            feature = l2(feature)
        finished.append(Finished(level, *_cast(feature, selection.dtype)))
    return finished


def l2(feature: NDArray[np.float32]) -> NDArray[np.float32]:
    """Every vector along axis 1 divided by its length."""
    length = np.sqrt(np.einsum("nc...,nc...->n...", feature, feature))[:, None]
    unit: NDArray[np.float32] = feature / np.maximum(length, np.float32(_EPSILON))
    return unit


def _source(selection: Selection, level: Level, manifest: Manifest, geometry: Geometry) -> str:
    """`pooled` is the last level's mean over all cells: the same as ours unless there is padding, and far smaller."""
    last = level.name == manifest.levels[-1].name
    return POOLED if selection.pool == "avg" and last and geometry.padding == (0, 0) else level.name


def _cast(feature: NDArray[np.float32], dtype: DType) -> tuple[NDArray[Any], int]:
    if dtype == "float32":
        return np.ascontiguousarray(feature), 0
    with np.errstate(over="ignore"):
        cast = np.ascontiguousarray(feature, np.float16)
    # Only what was finite overflows; infinities of the network's own are its answer.
    return cast, int(np.count_nonzero(np.isinf(cast) & np.isfinite(feature)))
