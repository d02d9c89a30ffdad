"""What is asked of a network's levels: which of them, and in what form."""

import math
from dataclasses import dataclass

import numpy as np

from detco_core.contract.features import (
    DEFAULT_GEM_P,
    DEFAULT_ROI_SIZE,
    MAX_GEM_P,
    MAX_ROI_SIZE,
    DType,
    Normalize,
    Pool,
    RoiLevels,
    levels_of,
)
from detco_core.contract.manifest import Level, Manifest
from detco_core.contract.reader import require
from detco_core.inference.pictures.preprocess import Geometry


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """Which levels, and in what form."""

    levels: tuple[str, ...] | None = None
    """None: `res5`, or the last the model has. None at all, `()`, only with `pooled`."""
    pool: Pool = "none"
    """`avg`: mean over the cells that padding did not make, or over a region's grid; `gem`: their generalised mean."""
    gem_p: float = DEFAULT_GEM_P
    """Power of `gem`."""
    normalize: Normalize = "none"
    """`l2`: each vector (of a cell, or pooled) to length 1, before the cast."""
    dtype: DType = "float32"
    pooled: bool = False
    """Beside the levels the last one's mean, as the output `pooled`; not for regions."""
    roi_size: int = DEFAULT_ROI_SIZE
    """Side of a region's grid."""
    roi_levels: RoiLevels = "each"
    """`assign`: every region from the one level its size asks for, as in an FPN; `each`: from all of them."""

    def __post_init__(self) -> None:
        some = self.levels is None or bool(self.levels) or self.pooled
        require(some, "levels", "must name at least one level")
        unique = self.levels is None or len(set(self.levels)) == len(self.levels)
        require(unique, "levels", "names a level twice")
        require(1 <= self.gem_p <= MAX_GEM_P, "gem_p", f"must be 1..{MAX_GEM_P:g}")
        require(1 <= self.roi_size <= MAX_ROI_SIZE, "roi_size", f"must be 1..{MAX_ROI_SIZE}")

    def levels_of(self, manifest: Manifest) -> tuple[Level, ...]:
        """The levels asked for.

        Raises:
            BundleError: naming those there are, or those that regions cannot be assigned to together.
        """
        return levels_of(self.levels, self.roi_levels, manifest)

    def size_of(self, manifest: Manifest, geometry: Geometry, regions: int | None = None) -> int:
        """Bytes of one image's tensors; `regions`: how many boxes it has, None where none were given."""
        levels = self.levels_of(manifest)
        shapes = [self._shape(level, geometry, regions) for level in levels]
        if regions is not None and self.roi_levels == "assign":
            shapes = shapes[:1]
        shapes += [(1, manifest.pooled)] if self.pooled else []
        return np.dtype(self.dtype).itemsize * sum(math.prod(shape) for shape in shapes)

    def grid_values(self, manifest: Manifest, regions: int) -> int:
        """Values of all grids of one image's regions, also where they are pooled: what it takes to make them."""
        levels = self.levels_of(manifest)
        channels = levels[0].channels if self.roi_levels == "assign" else sum(level.channels for level in levels)
        return regions * channels * self.roi_size**2

    def _shape(self, level: Level, geometry: Geometry, regions: int | None) -> tuple[int, ...]:
        count = 1 if regions is None else regions
        if self.pool != "none":
            return (count, level.channels)
        if regions is not None:
            return (count, level.channels, self.roi_size, self.roi_size)
        height, width = -(-geometry.network.height // level.stride), -(-geometry.network.width // level.stride)
        return (count, level.channels, height, width)
