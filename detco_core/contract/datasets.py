"""What a data set is to a job: a root that is read in place, and an immutable list of its files.

The file manifest is JSON lines, sorted by path, one readable image a line: `{"path": "a/b.jpg", "bytes": 1234,
"width": 640, "height": 480, "channels": 3, "label": "cat", "split": "train"}`; `label` and `split` are null where the
kind has none. An image inside a container adds `"container": "train-0.tar", "position": 1536`. The manifest's digest is
the sha256 of the file, and is the data set version's digest.
"""

import hashlib
from dataclasses import dataclass, field
from typing import Literal

DatasetKind = Literal["images", "labelled", "coco", "voc", "semantic"]

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".npy")
"""Names that end so, in any case, are taken for images; hidden files are not."""
LIST_SUFFIX, SHARD_SUFFIX = ".txt", ".tar"
"""A root, or a file in it, whose name ends so is a list of image files, or a shard of them."""
ROWS_MARKERS = ("state.json", "dataset_dict.json")
"""A folder that holds one of them was written by the `save_to_disk` of Hugging Face `datasets`."""
ROWS_SUFFIXES = (".arrow", ".json")
"""Names of the files of such a folder end so."""
REMOTE = "s3://"
"""Begins a root whose images are objects of a store."""
OBJECT = "@"
"""`container` of an image that is an object; its `position` is then when it was written, in Unix seconds."""


def fits_channels(stored: int, wanted: int) -> bool:
    """Whether an image of `stored` channels can be brought to `wanted`: grey and RGB become each other, alpha is
    dropped, everything else must be what it is. `stored` 0 was not counted.
    """
    return stored in (0, wanted) or (wanted in (1, 3) and stored <= 4)


@dataclass(frozen=True, kw_only=True, slots=True)
class DatasetFile:
    """One line of the file manifest; `path` is relative to the root, with forward slashes, or absolute where the root
    is a list that names files elsewhere.
    """

    path: str
    bytes: int
    width: int
    """Pixels, as stored (before EXIF orientation). 0, as are all counts, in a root that was listed, not scanned."""
    height: int
    channels: int
    label: str | None = None
    split: str | None = None
    container: str | None = None
    """What holds the image when it is no file of its own, relative to the root: a tar shard, or a folder of rows (`.`:
    the root itself). `path` is then the container's, and the image's name in it. In S3 its name is followed by `@` and
    a fingerprint of the objects it was at the scan (of their names, sizes and tags); `@` alone is `OBJECT`."""
    position: int | None = None
    """Where in the container: the first byte in a shard, the number of a row."""


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
class ObjectCache:
    """Where a host keeps copies of objects it has read, for all of its jobs."""

    folder: str
    max_bytes: int

    @staticmethod
    def name_of(root: str) -> str:
        """Name of the folder in it that holds the copies of one root."""
        return hashlib.sha256(root.encode()).hexdigest()[:32]


@dataclass(frozen=True, kw_only=True, slots=True)
class DatasetRef:
    """A data set version as a job's process sees it."""

    name: str
    """`photos@1`"""
    kind: DatasetKind
    root: str
    """Absolute path, or `s3://BUCKET/PREFIX`: a folder of images, of tar shards or of saved rows, a list of files, or
    one shard. Paths in the manifest are relative to it, or to the folder it lies in when it is a file."""
    manifest: str | None = None
    """Path of the file manifest; None: list the root (runs started by hand)."""
    digest: str | None = None
    """`sha256:...` of the manifest; checked on opening when set."""
    statistics: dict[str, ChannelStatistics] = field(default_factory=dict)
    """By channel count, as the scan measured them; empty for a root that was not scanned."""
    scanned_at: float | None = None
    """Unix time at which the scan was asked for: files written to since are not what it saw. None: not scanned, or
    unpacked from an upload, which cannot change."""
    allowed_roots: tuple[str, ...] | None = None
    """Folders, in S3 prefixes, that the lines of a file list may lead into, besides the list's own; None: anywhere, as
    by hand."""
    cache: ObjectCache | None = None
    """For a root in S3; None: each read goes there, and shards and saved rows cannot be read."""


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
    """Broken files by path: all, or the first thousand, and then all in the artifact `broken.jsonl`."""
    broken_count: int | None = None
    """How many files are broken; None in a report from before this was counted: `broken` has them all."""
