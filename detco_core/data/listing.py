"""Finds the image files below a folder."""

import fnmatch
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from detco_core.contract.datasets import BrokenFile
from detco_core.contract.errors import DataError

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})


class Listing(NamedTuple):
    """What lies below a root."""

    paths: tuple[str, ...]
    """Of image files, by name; relative, with forward slashes, sorted."""
    unusable: tuple[BrokenFile, ...]
    """Folders that may not be read and files whose names cannot be written down."""


def list_images(root: Path, exclude: Sequence[str] = ()) -> Listing:
    """List the files below `root` whose names say they are images, without opening any.

    Hidden files and folders are left out, so are links to folders, and links to files outside the root. `exclude` holds
    glob patterns of relative paths (`*` also matches `/`).

    Raises:
        DataError: when the root itself cannot be read.
    """
    real_root = root.resolve()
    unusable: list[BrokenFile] = []

    def note(error: OSError) -> None:
        if error.filename == str(real_root):
            raise DataError(f"{root} cannot be read: {error.strerror}") from error
        folder = Path(error.filename).relative_to(real_root).as_posix()
        unusable.append(BrokenFile(path=_as_text(folder), reason=str(error.strerror)))

    paths: list[str] = []
    for folder, folders, names in os.walk(real_root, onerror=note):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for path in _images_in(folder, names, real_root):
            if any(fnmatch.fnmatchcase(path, pattern) for pattern in exclude):
                continue
            if _is_text(path):
                paths.append(path)
            else:
                unusable.append(BrokenFile(path=_as_text(path), reason="the file name is not UTF-8: rename it"))
    return Listing(tuple(sorted(paths)), tuple(sorted(unusable, key=lambda file: file.path)))


def _images_in(folder: str, names: Sequence[str], root: Path) -> Iterator[str]:
    for name in names:
        if name.startswith(".") or Path(name).suffix.lower() not in SUFFIXES:
            continue
        path = Path(folder, name)
        if path.is_symlink() and not path.resolve().is_relative_to(root):
            continue
        yield path.relative_to(root).as_posix()


def _is_text(path: str) -> bool:
    # The operating system hands over bytes that are no UTF-8 as lone surrogates, which no JSON or table takes.
    return path == _as_text(path)


def _as_text(path: str) -> str:
    return path.encode("utf-8", "backslashreplace").decode("utf-8")
