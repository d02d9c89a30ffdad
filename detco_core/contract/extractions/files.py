"""The files an extraction leaves, and how they are read.

Everything lies under `features/`. Shard k is `00000.safetensors` (or `.parquet`) and its index part `00000.jsonl`,
which is written last: where a part is, its shard was complete. The part's first line is a `ShardHead`; then comes one
line an image, an `Entry`, in the order of the data set. `index.json` is written when all is done: an `ExtractionIndex`.

In a safetensors shard, what has one shape for all images (pooled vectors, grids of regions) is stacked: one tensor a
level, of which an image has `rows` from `row` on. Whole maps differ in size: each is a tensor of its own,
`ROW/LEVEL`. A Parquet shard has one line a vector, and a column a level. No shard depends on what was computed when:
another attempt cuts the same shards.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from detco_core.contract.errors import DataError, InvalidDocument
from detco_core.contract.extractions.options import ExtractionOptions, ShardFormat
from detco_core.contract.manifest import InputSpec, Level
from detco_core.contract.reader import read, require

T = TypeVar("T")

FORMAT = 1
FOLDER = "features"
INDEX_FILE = "index.json"
PART_SUFFIX = ".jsonl"
ASSIGNED = "assigned"
"""Name of the tensor of regions that come from several levels."""
SHARD_SUFFIXES: dict[ShardFormat, str] = {"safetensors": ".safetensors", "parquet": ".parquet"}


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


def is_shard(name: str) -> bool:
    """Whether an artifact of this name is a shard of an extraction."""
    return name.startswith(f"{FOLDER}/") and name.endswith(tuple(SHARD_SUFFIXES.values()))


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
