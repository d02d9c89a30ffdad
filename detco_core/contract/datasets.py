"""What a data set is to a job: a root that is read in place, and an immutable list of its files.

The file manifest is JSON lines, sorted by path, one readable image a line: `{"path": "a/b.jpg", "bytes": 1234,
"width": 640, "height": 480, "channels": 3, "label": "cat", "split": "train"}`; `label` and `split` are null where the
kind has none. Its digest is the sha256 of the file, and is the data set version's digest.
"""

from dataclasses import dataclass, field
from typing import Literal

DatasetKind = Literal["images", "labelled", "coco", "voc", "semantic"]

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
"""Names that end so, in any case, are taken for images; hidden files are not."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DatasetFile:
    """One line of the file manifest; `path` is relative to the root, with forward slashes."""

    path: str
    bytes: int
    width: int
    """Pixels, as stored (before EXIF orientation). 0, as are all counts, in a root that was listed, not scanned."""
    height: int
    channels: int
    label: str | None = None
    split: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class BrokenFile:
    """A file that looks like an image and cannot be read, and why."""

    path: str
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ChannelStatistics:
    """Of the pixels of images that have the same number of channels, measured on a fixed sample of them."""

    images: int
    """With this many channels, in the whole data set."""
    mean: tuple[float, ...]
    """Per channel, of values in 0..1."""
    std: tuple[float, ...]
    bit_depth: Literal[8, 16] = 8
    """16 when any of them is stored with 16 bits a channel."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DatasetRef:
    """A data set version as a job's process sees it."""

    name: str
    """`photos@1`"""
    kind: DatasetKind
    root: str
    """Absolute path of a folder."""
    manifest: str | None = None
    """Path of the file manifest; None: list the root (runs started by hand)."""
    digest: str | None = None
    """`sha256:...` of the manifest; checked on opening when set."""
    statistics: dict[str, ChannelStatistics] = field(default_factory=dict)
    """By channel count, as the scan measured them; empty for a root that was not scanned."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ScanReport:
    """What a scan found. The manifest itself is the artifact `manifest.jsonl`."""

    digest: str
    """`sha256:...` of the manifest file."""
    images: int
    bytes: int
    splits: dict[str, int]
    """Images by split; `{"": n}` where there are none."""
    labels: dict[str, int]
    """Images by label; empty for unlabelled kinds."""
    channels: dict[str, int]
    """Images by channel count."""
    width: tuple[int, int, int]
    """Smallest, median and largest, in pixels."""
    height: tuple[int, int, int]
    statistics: dict[str, ChannelStatistics] = field(default_factory=dict)
    """Mean, standard deviation and depth of the pixels, by channel count."""
    broken: tuple[BrokenFile, ...] = field(default_factory=tuple)
    """Every broken file."""
