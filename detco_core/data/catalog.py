"""The kinds of data sets this version reads, how they may be laid out, and what a path in each says about its image.

To add a kind: a layout here, and its line in `LAYOUTS`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from detco_core.contract.datasets import (
    LIST_SUFFIX,
    ROWS_MARKERS,
    SHARD_SUFFIX,
    DatasetFile,
    DatasetKind,
    ObjectCache,
)
from detco_core.contract.errors import DataError
from detco_core.data.bucket import Bucket
from detco_core.data.disk import Disk
from detco_core.data.file_table import FileTable
from detco_core.data.folder import FileList, Folder
from detco_core.data.locations import Location
from detco_core.data.objects import is_remote
from detco_core.data.rows import Rows
from detco_core.data.shards import Shards
from detco_core.data.sources import Source

SPLITS = ("train", "val")


class Place(NamedTuple):
    """What the path of an image says: its split and its label, None where the kind has none."""

    split: str | None
    label: str | None


class Layout(NamedTuple):
    """How one kind is laid out."""

    expected: str
    """The layout in words, for messages."""
    find: Callable[[Location, Sequence[str]], Source | None]
    """The source a root is, by what lies there and is not excluded; None when it does not look like this kind."""
    place: Callable[[str], Place | None]
    """Of a relative path with forward slashes; None for a file that is no part of the data set."""

    def placed(self, files: Iterable[DatasetFile]) -> Iterator[DatasetFile]:
        """The files that are part of the data set, with their labels and splits."""
        for file in files:
            place = self.place(file.path)
            if place == (None, None):
                yield file
            elif place is not None:
                yield replace(file, label=place.label, split=place.split)


def located(root: str, cache: ObjectCache | None = None) -> Location:
    """Where `root` lies; `cache` is where a host keeps what it reads from S3."""
    return Bucket(root, cache) if is_remote(root) else Disk(Path(root))


def find_source(
    kind: DatasetKind,
    at: Location,
    exclude: Sequence[str] = (),
    allowed: tuple[str, ...] | None = None,
    splits: Mapping[str, str] | None = None,
) -> tuple[Layout, Source]:
    """How `kind` is laid out, and the source that a root is; `allowed` is where the lines of a list may lead, `splits`
    the relative folder of each split where they are named.

    Raises:
        DataError: an unsupported kind, a root that is not there, or one that is laid out otherwise.
    """
    if kind not in LAYOUTS:
        raise DataError(f"data set kind {kind!r} is not supported; supported are {', '.join(LAYOUTS)}")
    if not at.is_there():
        raise DataError(f"{at} is not there, or this machine does not see it")
    layout = LAYOUTS[kind] if not splits else in_splits(kind, splits)
    source = layout.find(at, exclude)
    if source is None:
        raise DataError(f"{at} is not laid out as kind {kind!r}: expected {layout.expected}")
    return layout, replace(source, allowed=allowed) if isinstance(source, FileList) else source


def source_of(at: Location, table: FileTable, allowed: tuple[str, ...] | None = None) -> Source:
    """The source that the files of a manifest are read from: all of one data set are laid out in the same way."""
    name = at.name_of(table.member(0).container if len(table) else None)
    if name is None:
        return FileList(at, allowed) if at.is_file() else Folder(at)
    return Shards(at) if name.lower().endswith(SHARD_SUFFIX) else Rows(at)


def in_splits(kind: DatasetKind, splits: Mapping[str, str]) -> Layout:
    """The layout of a root whose splits are folders of these names: `{"val": "photos/held-out"}`; `.` is the root.

    In kind `labelled` the folder an image lies in below its split's is its label. An image below two of them belongs to
    the inner one.
    """
    inner_first = sorted(splits.items(), key=lambda item: -len(item[1]))
    prefixes = [(name, "" if folder == "." else f"{folder.strip('/')}/") for name, folder in inner_first]

    def find(at: Location, exclude: Sequence[str]) -> Source | None:
        if kind == "labelled":
            return Folder(at) if all(map(at.has_folder, splits.values())) else None
        return _images_root(at, exclude)

    def place(path: str) -> Place | None:
        for name, prefix in prefixes:
            if path.startswith(prefix):
                label, slash, _ = path[len(prefix) :].partition("/")
                if kind != "labelled":
                    return Place(name, None)
                return Place(name, label) if slash else None
        return None

    folders = ", ".join(splits.values())
    return Layout(f"{folders} with {'CLASS/image' if kind == 'labelled' else 'image'} files", find, place)


def _labelled_root(at: Location, exclude: Sequence[str]) -> Source | None:
    return Folder(at) if all(map(at.has_folder, SPLITS)) else None


def _labelled_place(path: str) -> Place | None:
    parts = path.split("/")
    return Place(parts[0], parts[1]) if len(parts) >= 3 and parts[0] in SPLITS else None


def _images_root(at: Location, exclude: Sequence[str]) -> Source | None:
    if at.is_file():
        by_suffix: dict[str, Source] = {LIST_SUFFIX: FileList(at), SHARD_SUFFIX: Shards(at)}
        return by_suffix.get(PurePosixPath(at.name).suffix.lower())
    if any(map(at.has_file, ROWS_MARKERS)):
        return Rows(at)
    shards = Shards(at)
    if not shards.names(exclude):
        return Folder(at)
    if any(True for _ in islice(Folder(at).listing(exclude).files, 1)):
        raise DataError(
            f"{at} holds image files and tar shards: name one of the shards, a folder that has only one of the two, "
            f"or leave one out (exclude: '*{SHARD_SUFFIX}')"
        )
    return shards


IMAGES = (
    "image files in a folder, at any depth; a .txt that names image files, one a line; .tar shards, one or a folder of "
    "them; or a folder that Hugging Face datasets saved"
)

LAYOUTS: Mapping[DatasetKind, Layout] = {
    "images": Layout(IMAGES, _images_root, lambda path: Place(None, None)),
    "labelled": Layout("{train,val}/CLASS/image files", _labelled_root, _labelled_place),
}
