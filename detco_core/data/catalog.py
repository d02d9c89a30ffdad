"""The kinds of data sets this version reads, and what a path inside each kind says about its image.

To add a kind: a layout here, and its line in `LAYOUTS`.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from detco_core.contract.datasets import DatasetKind
from detco_core.contract.errors import DataError

SPLITS = ("train", "val")


class Place(NamedTuple):
    """What the path of an image says: its split and its label, None where the kind has none."""

    split: str | None
    label: str | None


class Layout(NamedTuple):
    """How one kind lies on disk."""

    expected: str
    """The layout in words, for messages."""
    fits: Callable[[Path], bool]
    """Whether a root folder looks like this kind, before any file is read."""
    place: Callable[[str], Place | None]
    """Of a relative path with forward slashes; None for a file that is no part of the data set."""


def _labelled_place(path: str) -> Place | None:
    parts = path.split("/")
    return Place(parts[0], parts[1]) if len(parts) >= 3 and parts[0] in SPLITS else None


LAYOUTS: Mapping[DatasetKind, Layout] = {
    "images": Layout("image files in a folder, at any depth", lambda root: True, lambda path: Place(None, None)),
    "labelled": Layout(
        "{train,val}/CLASS/image files", lambda root: all((root / split).is_dir() for split in SPLITS), _labelled_place
    ),
}


def layout_of(kind: DatasetKind, root: Path) -> Layout:
    """The layout of `kind`, after checking that `root` is a folder that fits it.

    Raises:
        DataError: an unsupported kind, a root that is no readable folder, or one that is laid out otherwise.
    """
    if kind not in LAYOUTS:
        raise DataError(f"data set kind {kind!r} is not supported; supported are {', '.join(LAYOUTS)}")
    if not root.is_dir():
        raise DataError(f"{root} is not a folder, or this machine does not see it")
    layout = LAYOUTS[kind]
    if not layout.fits(root):
        raise DataError(f"{root} is not laid out as kind {kind!r}: expected {layout.expected}")
    return layout
