"""How many bytes an extraction will take, said before it is begun."""

import math
from collections.abc import Iterable

from detco_core.contract.extractions.options import ExtractionOptions
from detco_core.contract.features import (
    DEFAULT_ROI_SIZE,
    DType,
    ResizeShortSide,
    resized,
)
from detco_core.contract.manifest import Manifest

ITEM_BYTES: dict[DType, int] = {"float32": 4, "float16": 2, "int8": 1}


def image_bytes(options: ExtractionOptions, manifest: Manifest, width: int, height: int) -> int:
    """Bytes of the features of one image of this size, in pixels, without boxes."""
    levels, size = options.levels_of(manifest), ITEM_BYTES[options.dtype]
    if options.pool != "none":
        return size * sum(level.channels for level in levels)
    spec, resize = manifest.input, options.resize
    if resize is None:
        short = spec.short_side
        resize = "none" if short is None else ResizeShortSide(short_side=short, max_side=spec.max_side)
    sides = [math.ceil(side / spec.multiple) * spec.multiple for side in resized(width, height, resize)]
    cells = (level.channels * math.prod(math.ceil(side / level.stride) for side in sides) for level in levels)
    return size * sum(cells)


def box_bytes(options: ExtractionOptions, manifest: Manifest) -> int:
    """Bytes of the features under one box."""
    levels, size = options.levels_of(manifest), ITEM_BYTES[options.dtype]
    taken = levels[:1] if options.roi_levels == "assign" else levels
    cells = 1 if options.pool != "none" else (options.roi_size or DEFAULT_ROI_SIZE) ** 2
    return size * cells * sum(level.channels for level in taken)


def estimate_bytes(
    options: ExtractionOptions, manifest: Manifest, sizes: Iterable[tuple[int, int, int]], boxes: int | None
) -> int:
    """Bytes of all features: of images by width, height and how many, or of that many boxes."""
    if boxes is not None:
        return boxes * box_bytes(options, manifest)
    return sum(count * image_bytes(options, manifest, width, height) for width, height, count in sizes)


def too_large(expected: int, most: int) -> str:
    """Why an extraction of that many bytes is not begun, and what makes it smaller."""
    return (
        f"the features would take about {expected} bytes, and at most {most} are allowed: pool them, take fewer or "
        "coarser levels, a smaller resize, dtype float16 or int8, boxes_from, or one split; the bound is "
        "DETCO_MAX_EXTRACTION_BYTES"
    )
