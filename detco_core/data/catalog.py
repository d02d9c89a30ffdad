"""The kinds of data sets this version reads, how they may lie on disk, and what a path in each says about its image.

To add a kind: a layout here, and its line in `LAYOUTS`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
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
from detco_core.data.file_table import FileTable
from detco_core.data.folder import FileList, Folder
from detco_core.data.objects import Objects
from detco_core.data.rows import Rows
from detco_core.data.shards import Shards
from detco_core.data.sources import Source

SPLITS = ("train", "val")


class Place(NamedTuple):
    """What the path of an image says: its split and its label, None where the kind has none."""

    split: str | None
    label: str | None


class Layout(NamedTuple):
    """How one kind lies on disk."""

    expected: str
    """The layout in words, for messages."""
    find: Callable[[Path, Sequence[str]], Source | None]
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


def find_source(
    kind: DatasetKind,
    root: Path,
    exclude: Sequence[str] = (),
    allowed: tuple[str, ...] | None = None,
    splits: Mapping[str, str] | None = None,
) -> tuple[Layout, Source]:
    """How `kind` is laid out, and the source that `root` is; `allowed` is where the lines of a list may lead, `splits`
    the relative folder of each split where they are named.

    Raises:
        DataError: an unsupported kind, a root that is not there, or one that is laid out otherwise.
    """
    if kind not in LAYOUTS:
        raise DataError(f"data set kind {kind!r} is not supported; supported are {', '.join(LAYOUTS)}")
    if not root.exists():
        raise DataError(f"{root} is not there, or this machine does not see it")
    layout = LAYOUTS[kind] if not splits else in_splits(kind, splits)
    source = layout.find(root, exclude)
    if source is None:
        raise DataError(f"{root} is not laid out as kind {kind!r}: expected {layout.expected}")
    return layout, replace(source, allowed=allowed) if isinstance(source, FileList) else source


def find_objects(
    kind: DatasetKind, root: str, cache: ObjectCache | None, splits: Mapping[str, str]
) -> tuple[Layout, Source]:
    """As `find_source`, of a root in S3."""
    if kind not in LAYOUTS:
        raise DataError(f"data set kind {kind!r} is not supported; supported are {', '.join(LAYOUTS)}")
    return LAYOUTS[kind] if not splits else in_splits(kind, splits), Objects(root, cache)


def source_of(root: Path, table: FileTable, allowed: tuple[str, ...] | None = None) -> Source:
    """The source that the files of a manifest are read from: all of one data set lie in the same way."""
    container = table.member(0).container if len(table) else None
    if container is None:
        return FileList(root, allowed) if root.is_file() else Folder(root)
    return Shards(root) if container.endswith(SHARD_SUFFIX) else Rows(root)


def in_splits(kind: DatasetKind, splits: Mapping[str, str]) -> Layout:
    """The layout of a root whose splits are folders of these names: `{"val": "photos/held-out"}`; `.` is the root.

    In kind `labelled` the folder an image lies in below its split's is its label. An image below two of them belongs to
    the inner one.
    """
    inner_first = sorted(splits.items(), key=lambda item: -len(item[1]))
    prefixes = [(name, "" if folder == "." else f"{folder.strip('/')}/") for name, folder in inner_first]

    def find(root: Path, exclude: Sequence[str]) -> Source | None:
        if kind == "labelled":
            return Folder(root) if all((root / folder).is_dir() for folder in splits.values()) else None
        return _images_root(root, exclude)

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


def _labelled_root(root: Path, exclude: Sequence[str]) -> Source | None:
    return Folder(root) if all((root / split).is_dir() for split in SPLITS) else None


def _labelled_place(path: str) -> Place | None:
    parts = path.split("/")
    return Place(parts[0], parts[1]) if len(parts) >= 3 and parts[0] in SPLITS else None


def _images_root(root: Path, exclude: Sequence[str]) -> Source | None:
    if root.is_file():
        by_suffix: dict[str, Source] = {LIST_SUFFIX: FileList(root), SHARD_SUFFIX: Shards(root)}
        return by_suffix.get(root.suffix.lower())
    if any((root / marker).is_file() for marker in ROWS_MARKERS):
        return Rows(root)
    shards = Shards(root)
    if not shards.names(exclude):
        return Folder(root)
    if any(True for _ in islice(Folder(root).listing(exclude).files, 1)):
        raise DataError(
            f"{root} holds image files and tar shards: name one of the shards, a folder that has only one of the two, "
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
