"""How a network's raw maps become what was asked for: regions, pooled, normalised, cast.

Shapes: N images, C channels, h x w cells of a level's map, K boxes, S the side of a region's grid.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from detco_core.contract.manifest import Level, Manifest
from detco_core.inference.numbers import Cast, cast
from detco_core.inference.pictures.preprocess import Geometry
from detco_core.inference.pooling import generalised_mean, mean
from detco_core.inference.roi import Regions, assign, roi_align
from detco_core.inference.selection import Selection
from detco_core.inference.sessions.session import POOLED

ASSIGNED = "assigned"
"""Name of the tensor of regions that come from several levels."""

_BLOCK_VALUES = 2**21
"""Of grids that are pooled together."""
_EPSILON = 1e-12
"""As torch.nn.functional.normalize: a zero vector stays zero."""


_MEAN = Selection(pool="avg")
"""How `pooled` is made."""


class Finished(NamedTuple):
    """One level's answer for one image, or that of all its regions."""

    level: str
    """`assigned` for regions of several levels."""
    stride: int | None
    """None for `assigned`."""
    array: NDArray[Any]
    """`[1, C, h, w]`, or `[K, C, S, S]` of regions, or `[1, C]` and `[K, C]` pooled; of the dtype asked for."""
    cast: Cast
    levels: tuple[str, ...] = ()
    """Of `assigned`: each region's level."""


def needed(
    selection: Selection, manifest: Manifest, geometry: Geometry, regions: Regions | None = None
) -> tuple[str, ...]:
    """The ONNX outputs to compute for one image."""
    levels = selection.levels_of(manifest)
    if regions is not None:
        return tuple(level.name for level in levels)
    outputs = [_source(selection, level, manifest, geometry) for level in levels]
    if selection.pooled:
        outputs.append(_source(_MEAN, manifest.levels[-1], manifest, geometry))
    return tuple(dict.fromkeys(outputs))


def finish(
    selection: Selection,
    manifest: Manifest,
    geometry: Geometry,
    maps: Mapping[str, NDArray[np.floating[Any]]],
    regions: Regions | None = None,
) -> list[Finished]:
    """The raw maps of one image, float32 or (of a network in half precision) float16, as they were asked for."""
    levels = selection.levels_of(manifest)
    maps = {name: _wide(selection, feature, regions) for name, feature in maps.items()}
    if regions is None:
        features = [_whole(selection, level, manifest, geometry, maps) for level in levels]
    elif selection.roi_levels == "each":
        features = [_aligned(selection, level, maps, regions) for level in levels]
    else:
        return [_assigned(selection, levels, maps, regions)]
    pairs = zip(levels, features, strict=True)
    finished = [_finished(selection, level.name, level.stride, feature) for level, feature in pairs]
    if selection.pooled:
        vector = _whole(_MEAN, manifest.levels[-1], manifest, geometry, maps)
        finished.append(_finished(selection, POOLED, manifest.levels[-1].stride, vector))
    return finished


def gives_as_they_are(
    selection: Selection, maps: Mapping[str, NDArray[np.floating[Any]]], regions: Regions | None = None
) -> bool:
    """Whether `finish` makes nothing new of these maps, and so takes no time."""
    alike = regions is None and (selection.pool, selection.normalize) == ("none", "none") and not selection.pooled
    return alike and all(feature.dtype == selection.dtype for feature in maps.values())


def l2(feature: NDArray[np.float32]) -> NDArray[np.float32]:
    """Every vector along axis 1 divided by its length."""
    length = np.sqrt(np.einsum("nc...,nc...->n...", feature, feature))[:, None]
    unit: NDArray[np.float32] = feature / np.maximum(length, np.float32(_EPSILON))
    return unit


def _wide(selection: Selection, feature: NDArray[Any], regions: Regions | None) -> NDArray[Any]:
    """Whatever is computed is computed in float32; a map in float16 that was asked for as such stays as it is."""
    as_it_is = regions is None and (selection.pool, selection.normalize) == ("none", "none")
    return feature if as_it_is and feature.dtype == selection.dtype else feature.astype(np.float32, copy=False)


def _whole(
    selection: Selection,
    level: Level,
    manifest: Manifest,
    geometry: Geometry,
    maps: Mapping[str, NDArray[np.float32]],
) -> NDArray[np.float32]:
    source = _source(selection, level, manifest, geometry)
    feature = maps[source]
    if selection.pool == "none" or source == POOLED:
        return feature
    cells = geometry.cells(level.stride)
    return _pooled(selection, feature[:, :, : cells.height, : cells.width])


def _aligned(
    selection: Selection, level: Level, maps: Mapping[str, NDArray[np.float32]], regions: Regions
) -> NDArray[np.float32]:
    feature, size = maps[level.name], selection.roi_size
    if selection.pool == "none":
        return roi_align(feature, regions, level.stride, size)
    # A thousand grids are a gigabyte, their vectors a few megabytes.
    count = max(1, _BLOCK_VALUES // (level.channels * size**2))
    blocks = [Regions(regions.boxes[start : start + count]) for start in range(0, max(1, len(regions)), count)]
    return np.concatenate([_pooled(selection, roi_align(feature, block, level.stride, size)) for block in blocks])


def _pooled(selection: Selection, feature: NDArray[np.float32]) -> NDArray[np.float32]:
    return mean(feature) if selection.pool == "avg" else generalised_mean(feature, selection.gem_p)


def _assigned(
    selection: Selection, levels: Sequence[Level], maps: Mapping[str, NDArray[np.float32]], regions: Regions
) -> Finished:
    """Every region from its own level."""
    chosen = assign(regions, levels)
    shape = (len(regions), levels[0].channels)
    grid = () if selection.pool != "none" else (selection.roi_size, selection.roi_size)
    feature = np.empty(shape + grid, np.float32)
    for place, level in enumerate(levels):
        mine = chosen == place
        feature[mine] = _aligned(selection, level, maps, Regions(regions.boxes[mine]))
    return _finished(selection, ASSIGNED, None, feature, tuple(levels[place].name for place in chosen))


def _source(selection: Selection, level: Level, manifest: Manifest, geometry: Geometry) -> str:
    """`pooled` is the last level's mean over all cells: the same as ours unless there is padding, and far smaller."""
    last = level.name == manifest.levels[-1].name
    return POOLED if selection.pool == "avg" and last and geometry.padding == (0, 0) else level.name


def _finished(
    selection: Selection,
    level: str,
    stride: int | None,
    feature: NDArray[np.float32],
    levels: tuple[str, ...] = (),
) -> Finished:
    if selection.normalize == "l2":
        feature = l2(feature)
    array, made = cast(feature, selection.dtype)
    return Finished(level, stride, array, made, levels)
