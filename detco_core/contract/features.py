"""What may be asked of a model's features: the same words in `/features`, in an extraction and in a script."""

from dataclasses import dataclass
from typing import Literal

from detco_core.contract.errors import BundleError
from detco_core.contract.manifest import MAX_SIDE, Level, Manifest
from detco_core.contract.reader import require

Pool = Literal["none", "avg", "gem"]
Normalize = Literal["none", "l2"]
DType = Literal["float32", "float16", "int8"]
Orientation = Literal["exif", "ignore"]
RoiLevels = Literal["each", "assign"]

DEFAULT_GEM_P = 3.0
"""Power of `gem`: that of the paper's networks before they learn their own."""
MAX_GEM_P = 100.0
"""Beyond, there is no telling it from the maximum."""
DEFAULT_ROI_SIZE = 7
MAX_ROI_SIZE = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class ResizeShortSide:
    """Short side to this many pixels, aspect kept; the long side at most `max_side`."""

    short_side: int
    max_side: int | None = None

    def __post_init__(self) -> None:
        require(0 < self.short_side <= MAX_SIDE, "short_side", f"must be 1..{MAX_SIDE}")
        fits = self.max_side is None or self.short_side <= self.max_side <= MAX_SIDE
        require(fits, "max_side", f"must be short_side..{MAX_SIDE}")


@dataclass(frozen=True, kw_only=True, slots=True)
class ResizeExact:
    """To exactly this size, aspect not kept."""

    height: int
    width: int

    def __post_init__(self) -> None:
        require(0 < self.height <= MAX_SIDE, "height", f"must be 1..{MAX_SIDE}")
        require(0 < self.width <= MAX_SIDE, "width", f"must be 1..{MAX_SIDE}")


Resize = ResizeShortSide | ResizeExact | Literal["none"]


def resized(width: int, height: int, resize: Resize) -> tuple[int, int]:
    """Width and height after it; rounded half up, as detectron2's ResizeShortestEdge."""
    if isinstance(resize, ResizeExact):
        return resize.width, resize.height
    if isinstance(resize, ResizeShortSide):
        scale = resize.short_side / min(width, height)
        if resize.max_side is not None:
            scale = min(scale, resize.max_side / max(width, height))
        return max(1, int(width * scale + 0.5)), max(1, int(height * scale + 0.5))
    return width, height


def levels_of(names: tuple[str, ...] | None, roi_levels: RoiLevels, manifest: Manifest) -> tuple[Level, ...]:
    """The levels of those names; None: `res5`, or the last there is.

    Raises:
        BundleError: naming those there are, or those that regions cannot be assigned to together.
    """
    if names is None:
        return (next((level for level in manifest.levels if level.name == "res5"), manifest.levels[-1]),)
    levels = tuple(manifest.level(name) for name in names)
    if roi_levels == "assign" and len({level.channels for level in levels}) > 1:
        widths = ", ".join(f"{level.name} has {level.channels}" for level in levels)
        raise BundleError(f"roi_levels=assign needs levels of equal channels, and {widths}: name those of an FPN")
    return levels
