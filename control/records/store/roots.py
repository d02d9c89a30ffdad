"""Where data may lie: the one place that turns a `uri` into a folder or file, and refuses those outside the roots."""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from urllib.parse import unquote, urlsplit

from control.errors import ForbiddenRoot, InvalidRequest
from detco_core.contract.datasets import IMAGE_SUFFIXES, LIST_SUFFIX, ROWS_MARKERS, SHARD_SUFFIX

ACCEPTED_KINDS = ("images", "labelled")
_FILES = (LIST_SUFFIX, SHARD_SUFFIX)
_SPLIT = re.compile("[A-Za-z0-9_.-]{1,40}")
_LOOK_AT = 20_000
"""Directory entries looked at before a folder without an image is believed to have none; the scan reads them all."""


def resolve_uri(uri: str, roots: Sequence[str]) -> Path:
    """The existing folder, list of files or tar shard that a data set's `uri` names, symlinks followed.

    Raises:
        InvalidRequest: the uri is neither an absolute path nor `file://`, or it names none of these.
        ForbiddenRoot: it lies outside all of `roots` (resolved absolute paths).
    """
    path = _allowed(uri, roots)
    if not (_is(path, Path.is_dir) or (_is(path, Path.is_file) and path.suffix.lower() in _FILES)):
        kinds = f"a folder, a list ({LIST_SUFFIX}) or a shard ({SHARD_SUFFIX})"
        raise InvalidRequest("uri", f"{uri[:200]!r} is not {kinds} that this service can see")
    return path


def resolve_file(uri: str, roots: Sequence[str]) -> Path:
    """The existing file, not an empty one, that a `uri` names, symlinks followed; raises as `resolve_uri`."""
    file = _allowed(uri, roots)
    if not _is(file, Path.is_file):
        raise InvalidRequest("uri", f"{uri[:200]!r} is not a file this service can see")
    if not file.stat().st_size:
        raise InvalidRequest("uri", f"{uri[:200]!r} is empty")
    return file


def check_kind(kind: str) -> None:
    """Raise `InvalidRequest` for a kind of data set that is not read."""
    if kind not in ACCEPTED_KINDS:
        raise InvalidRequest("kind", f"{kind!r} is not one of {', '.join(ACCEPTED_KINDS)}")


def check_splits(splits: Mapping[str, str]) -> None:
    """Raise `InvalidRequest` unless each split has a name and a folder that is relative and leads nowhere else."""
    for name, folder in splits.items():
        if not _SPLIT.fullmatch(name):
            raise InvalidRequest(f"splits.{name[:40]}", "a split's name has letters, digits, `_`, `-` and `.`, 1 to 40")
        parts = folder.split("/")
        if folder != "." and (folder != "/".join(parts).strip("/") or {"", ".", ".."} & set(parts) or "\0" in folder):
            raise InvalidRequest(f"splits.{name}", "must be a folder below the root, e.g. `images/held-out`, or `.`")


def check_layout(root: Path, kind: str, splits: Mapping[str, str] | None = None) -> None:
    """Look, without reading images, whether `root` is laid out as its kind, or its `splits`, ask.

    Raises:
        InvalidRequest: naming the layout that was expected.
    """
    check_kind(kind)
    if splits and root.is_dir():
        _check_folders(root, kind, splits)
    elif kind == "labelled":
        _check_labelled(root)
    elif root.is_dir() and not (_has_image(root, (*IMAGE_SUFFIXES, SHARD_SUFFIX)) or _is_saved(root)):
        endings = ", ".join((*IMAGE_SUFFIXES, SHARD_SUFFIX))
        message = f"{root} has no file that ends in one of {endings}, nor was it saved by Hugging Face datasets"
        raise InvalidRequest("uri", message)


def _allowed(uri: str, roots: Sequence[str]) -> Path:
    path = Path(os.path.realpath(_path(uri)))
    if not any(path.is_relative_to(root) for root in roots):
        allowed = ", ".join(roots)
        message = f"{uri[:200]!r} is outside the folders data may lie in (DETCO_DATASET_ROOTS): {allowed}"
        raise ForbiddenRoot("uri", message)
    return path


def _path(uri: str) -> str:
    if "\0" in uri:
        raise InvalidRequest("uri", "holds a NUL character")
    if uri.startswith("/"):
        return uri
    parts = urlsplit(uri)
    if parts.scheme == "file" and parts.netloc in ("", "localhost") and parts.path.startswith("/"):
        path = unquote(parts.path)
        return _path(path)
    raise InvalidRequest("uri", f"{uri[:200]!r} is not taken here; give an absolute path, or file:// and one")


def _is(path: Path, kind: Callable[[Path], bool]) -> bool:
    try:
        return kind(path)
    except OSError:  # A name too long, a loop of links, a folder above that may not be entered.
        return False


def _check_folders(root: Path, kind: str, splits: Mapping[str, str]) -> None:
    for name, folder in splits.items():
        place = root if folder == "." else root / folder
        if not (any(map(_has_image, _folders(place))) if kind == "labelled" else _has_image(place)):
            below = "CLASS/ folders with images" if kind == "labelled" else "images"
            raise InvalidRequest(f"splits.{name}", f"{place} has no {below} in it")


def _check_labelled(folder: Path) -> None:
    for split in ("train", "val"):
        if not any(_has_image(label) for label in _folders(folder / split)):
            raise InvalidRequest("uri", f"{folder} needs {split}/CLASS/ folders with images in them")


def _has_image(folder: Path, endings: tuple[str, ...] = IMAGE_SUFFIXES) -> bool:
    names = (name for _, _, files in os.walk(folder) for name in files if not name.startswith("."))
    return any(name.lower().endswith(endings) for name in islice(names, _LOOK_AT))


def _is_saved(folder: Path) -> bool:
    return any((folder / marker).is_file() for marker in ROWS_MARKERS)


def _folders(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return [Path(entry.path) for entry in islice(entries, _LOOK_AT) if entry.is_dir()]
    except OSError:
        return []
