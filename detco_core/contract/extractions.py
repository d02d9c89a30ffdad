"""What an extraction asks, what it will take, and the files it leaves: the features of a whole data set.

Everything lies under `features/`. Shard k is `00000.safetensors` (or `.parquet`) and its index part `00000.jsonl`,
which is written last: where a part is, its shard was complete. The part's first line is a `ShardHead`; then comes one
line an image, an `Entry`, in the order of the data set. `index.json` is written when all is done: an `ExtractionIndex`.

In a safetensors shard, what has one shape for all images (pooled vectors, grids of regions) is stacked: one tensor a
level, of which an image has `rows` from `row` on. Whole maps differ in size: each is a tensor of its own,
`ROW/LEVEL`. A Parquet shard has one line a vector, and a column a level. No shard depends on what was computed when:
another attempt cuts the same shards.
"""

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeVar

from detco_core.contract.errors import DataError, InvalidDocument
from detco_core.contract.features import (
    DEFAULT_ROI_SIZE,
    MAX_GEM_P,
    MAX_ROI_SIZE,
    DType,
    Normalize,
    Orientation,
    Pool,
    Resize,
    ResizeShortSide,
    RoiLevels,
    levels_of,
    resized,
)
from detco_core.contract.manifest import InputSpec, Level, Manifest
from detco_core.contract.reader import read, require

T = TypeVar("T")

FORMAT = 1
FOLDER = "features"
INDEX_FILE = "index.json"
PART_SUFFIX = ".jsonl"
ASSIGNED = "assigned"
"""Name of the tensor of regions that come from several levels."""

ShardFormat = Literal["safetensors", "parquet"]
SHARD_SUFFIXES: dict[ShardFormat, str] = {"safetensors": ".safetensors", "parquet": ".parquet"}
ITEM_BYTES: dict[DType, int] = {"float32": 4, "float16": 2, "int8": 1}
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
    """Images of one size that a GPU computes at once; a CPU takes one at a time, as in `/features`."""

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


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredFile:
    """One file; `path` is relative to `features/`."""

    path: str
    bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardHead:
    """First line of an index part: the shard it is about."""

    question: str
    """Digest of all that the features depend on: shards of another question are never taken over."""
    shard: StoredFile
    images: int
    """Entries that follow."""
    broken: int
    """Those of them that have an error instead of features."""
    rows: int


@dataclass(frozen=True, kw_only=True, slots=True)
class EntryError:
    """Why an image has no features; `code` as in `ImageError`."""

    code: str
    message: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One image: where its features are, and how its pixels map to them. Sizes are width, height in pixels."""

    image: str
    """Its path in the data set."""
    label: str | None = None
    split: str | None = None
    row: int = 0
    """First of its rows in the shard."""
    rows: int = 0
    """1, or the number of its boxes."""
    stored: tuple[int, int] | None = None
    """As in the file."""
    oriented: tuple[int, int] | None = None
    """As used: boxes are pixels of this."""
    resized: tuple[int, int] | None = None
    """The network's input without padding."""
    network: tuple[int, int] | None = None
    converted_from: str | None = None
    """Colour mode of the file when it is not the model's own."""
    scales: dict[str, float] = field(default_factory=dict)
    """By level, of int8: what a number stands for."""
    overflow: dict[str, int] = field(default_factory=dict)
    """By level: how many values were too large for the dtype; levels without any are left out."""
    levels: tuple[str, ...] = ()
    """Each box's level, where roi_levels is `assign`."""
    clipped: tuple[int, ...] = ()
    """Places in its list of the boxes that stood out of the image."""
    error: EntryError | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardFiles:
    """One shard and its index part."""

    shard: StoredFile
    part: StoredFile
    images: int
    broken: int
    rows: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ExtractionIndex:
    """`index.json`: what was extracted, of what, and all files with their digests."""

    format: int = FORMAT
    model: str
    """As it was named, e.g. `photos:3`."""
    weights_digest: str
    input: InputSpec
    """How an image became the network's input."""
    levels: tuple[Level, ...]
    """Those extracted, in order."""
    dataset: str
    dataset_digest: str | None
    options: ExtractionOptions
    boxes_digest: str | None = None
    """Of the file the boxes came from."""
    licenses: dict[str, str] = field(default_factory=dict)
    """Of the data set and of everything the model comes from."""
    images: int
    broken: int
    bytes: int
    """Of all shards."""
    shards: tuple[ShardFiles, ...]

    def __post_init__(self) -> None:
        require(self.format == FORMAT, "format", f"is {self.format}; this version reads {FORMAT}: upgrade detco")


@dataclass(frozen=True, kw_only=True, slots=True)
class BrokenImage:
    """An image without features."""

    path: str
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ExtractionReport:
    """The result of an extraction; its files are artifacts `features/...`."""

    images: int
    """Of which features were asked."""
    broken: int
    broken_images: tuple[BrokenImage, ...]
    """The first hundred; all are in the index parts."""
    shards: int
    bytes: int
    """Of all shards."""
    index: StoredFile
    weights_digest: str
    dataset: str
    dataset_digest: str | None
    provider: str
    """onnxruntime's, of the attempt that ended it."""


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


def is_shard(name: str) -> bool:
    """Whether an artifact of this name is a shard of an extraction."""
    return name.startswith(f"{FOLDER}/") and name.endswith(tuple(SHARD_SUFFIXES.values()))


def too_large(expected: int, most: int) -> str:
    """Why an extraction of that many bytes is not begun, and what makes it smaller."""
    return (
        f"the features would take about {expected} bytes, and at most {most} are allowed: pool them, take fewer or "
        "coarser levels, a smaller resize, dtype float16 or int8, boxes_from, or one split; the bound is "
        "DETCO_MAX_EXTRACTION_BYTES"
    )


def read_index(path: Path) -> ExtractionIndex:
    """Read `index.json`; raises `DataError` naming what is wrong."""
    try:
        return read(ExtractionIndex, json.loads(path.read_text("utf-8")), str(path))
    except FileNotFoundError as error:
        raise DataError(f"no {INDEX_FILE} in {path.parent}: no extraction, or one that was not finished") from error
    except (OSError, ValueError, InvalidDocument) as error:
        raise DataError(f"{path} cannot be read: {error}") from error


def read_line(cls: type[T], line: str, where: str) -> T:
    """A `ShardHead` or an `Entry` from its line; raises `DataError`."""
    try:
        return read(cls, json.loads(line), where)
    except (ValueError, InvalidDocument) as error:
        raise DataError(f"{where} is damaged: {error}") from error
