"""What is asked of an extraction, in the words of `/features`."""

from dataclasses import dataclass
from typing import Literal

from detco_core.contract.features import (
    MAX_GEM_P,
    MAX_ROI_SIZE,
    DType,
    Normalize,
    Orientation,
    Pool,
    Resize,
    RoiLevels,
    levels_of,
)
from detco_core.contract.manifest import Level, Manifest
from detco_core.contract.reader import require

ShardFormat = Literal["safetensors", "parquet"]
MAX_SHARD_BYTES = 2**32


@dataclass(frozen=True, kw_only=True, slots=True)
class ExtractionOptions:
    """What is asked of every image; the words are those of `/features`."""

    split: str | None = None
    """None: all images, whatever their split."""
    levels: tuple[str, ...] | None = None
    """None: `res5`, or the last level of the model."""
    pool: Pool = "none"
    gem_p: float | None = None
    """Power of `gem`, with it only; None: 3."""
    dtype: DType = "float32"
    normalize: Normalize = "none"
    resize: Resize | None = None
    """None: as the model's manifest says."""
    orientation: Orientation = "exif"
    roi_size: int | None = None
    """Side of a region's grid, with boxes only; None: 7."""
    roi_levels: RoiLevels | None = None
    """With boxes only; None: `each`."""
    format: ShardFormat = "safetensors"
    """`parquet` for vectors, so with `pool` only."""
    shard_bytes: int = 256 * 2**20
    """The most one shard holds, in bytes, unless a single image has more."""
    shard_images: int = 4096
    """The most images of one shard: what a lost worker costs is at most one shard."""
    batch_size: int = 8
    """Images of one size that a GPU computes at once; a CPU takes each by itself, as in `/features`."""

    def __post_init__(self) -> None:
        unique = self.levels is None or 0 < len(set(self.levels)) == len(self.levels) <= 32
        require(unique, "levels", "must name at least one level, each once")
        require(self.roi_size is None or 1 <= self.roi_size <= MAX_ROI_SIZE, "roi_size", f"must be 1..{MAX_ROI_SIZE}")
        power = self.gem_p is None or (self.pool == "gem" and 1 <= self.gem_p <= MAX_GEM_P)
        require(power, "gem_p", f"is the power of pool gem, 1..{MAX_GEM_P:g}")
        vectors = self.format != "parquet" or self.pool != "none"
        require(vectors, "format", "parquet holds vectors: ask for pool avg or gem, or for safetensors")
        sizes = 2**10 <= self.shard_bytes <= MAX_SHARD_BYTES
        require(sizes, "shard_bytes", f"must be 1024..{MAX_SHARD_BYTES}")
        require(1 <= self.shard_images <= 100_000, "shard_images", "must be 1..100000")
        require(1 <= self.batch_size <= 1024, "batch_size", "must be 1..1024")

    def require_boxes(self, has_boxes: bool) -> None:
        """Raise `FieldError` where something is said of regions and there are none."""
        for name in ("roi_size", "roi_levels"):
            said = getattr(self, name) is not None
            require(has_boxes or not said, name, "says how boxes are taken: give boxes_from")

    def levels_of(self, manifest: Manifest) -> tuple[Level, ...]:
        """The levels asked for; raises `BundleError` naming those there are."""
        return levels_of(self.levels, self.roi_levels or "each", manifest)
