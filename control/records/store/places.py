"""What a `uri` names, wherever that is: a folder or file under the allowed roots, or bytes that were uploaded.

A place is what the tables hold and what a claim is matched on: a resolved absolute path, or `upload:ID`, which every
worker can have.
"""

from collections.abc import Mapping, Sequence

from sqlalchemy import ColumnElement, SQLColumnExpression, func, or_
from sqlalchemy.orm import Session

from control.errors import ForbiddenRoot, InvalidRequest
from control.records.store import roots as local
from control.records.store.uploads import SCHEME, check_contents, usable_upload
from control.storage.buckets import first_names, has_object, object_size
from detco_core.contract.datasets import IMAGE_SUFFIXES, LIST_SUFFIX, REMOTE, ROWS_MARKERS, SHARD_SUFFIX


def dataset_place(session: Session, uri: str, kind: str, roots: Sequence[str], splits: Mapping[str, str]) -> str:
    """Where a data set lies, its layout looked at.

    Raises:
        InvalidRequest: uri, kind, splits or layout are not as they must be.
        ForbiddenRoot: it lies outside `roots`.
        NotReady: bytes of the upload are missing.
    """
    local.check_kind(kind)
    local.check_splits(splits)
    if uri.startswith(SCHEME):
        upload = usable_upload(session, uri, "dataset")
        if not splits:
            check_contents(upload, kind)
        return f"{SCHEME}{upload.id}"
    if uri.startswith(REMOTE):
        return _dataset(uri, kind, roots, splits)
    root = local.resolve_uri(uri, roots)
    local.check_layout(root, kind, splits)
    return str(root)


def file_place(session: Session, uri: str, roots: Sequence[str]) -> str:
    """Where a file of weights lies; raises as `dataset_place`."""
    if uri.startswith(SCHEME):
        return f"{SCHEME}{usable_upload(session, uri, 'weights').id}"
    if uri.startswith(REMOTE):
        place = _remote(uri, roots)
        if not object_size(place):
            raise InvalidRequest("uri", f"{place} is empty")
        return place
    return str(local.resolve_file(uri, roots))


def _remote(uri: str, roots: Sequence[str]) -> str:
    place = uri.rstrip("/")
    parts = place.removeprefix(REMOTE).split("/")
    if {"", ".", ".."} & set(parts) or any(letter in uri for letter in "?#\0"):
        raise InvalidRequest("uri", f"{uri[:200]!r} is not s3://BUCKET/PREFIX")
    if not any(f"{place}/".startswith(_folder(root)) for root in roots):
        raise ForbiddenRoot("uri", f"{uri[:200]!r} is outside where data may lie (DETCO_DATASET_ROOTS)")
    return place


def _dataset(uri: str, kind: str, roots: Sequence[str], splits: Mapping[str, str]) -> str:
    place = _remote(uri, roots)
    if kind == "labelled":
        _check_labelled(place, splits)
    elif place.lower().endswith((LIST_SUFFIX, SHARD_SUFFIX)):
        if not object_size(place):
            raise InvalidRequest("uri", f"{place} is empty")
    else:
        _check_images(place)
    return place


def _check_images(place: str) -> None:
    if _first(place, (*IMAGE_SUFFIXES, SHARD_SUFFIX)) or any(has_object(f"{place}/{name}") for name in ROWS_MARKERS):
        return
    expected = f"images or {SHARD_SUFFIX} shards among its first objects"
    raise InvalidRequest("uri", f"{place} has no {expected}, nor was it saved by Hugging Face datasets")


def _check_labelled(place: str, splits: Mapping[str, str]) -> None:
    image = _first(place, IMAGE_SUFFIXES)
    if image is None:
        raise InvalidRequest("uri", f"{place} has no images among its first objects")
    # Thousands of classes come before the second split: of the layout only the first names can be looked at.
    if not splits and not image.startswith(("train/", "val/")):
        raise InvalidRequest("uri", f"{place} needs train/CLASS/ and val/CLASS/ with images in them; it has {image}")


def _first(place: str, endings: tuple[str, ...]) -> str | None:
    return next((name for name in first_names(place) if name.lower().endswith(endings)), None)


def sees(roots: Sequence[str], place: str) -> bool:
    """Whether a worker that reads below these roots can have what lies at `place`."""
    return place.startswith(SCHEME) or any(f"{place}/".startswith(_folder(root)) for root in roots)


def is_seen(roots: Sequence[str], place: SQLColumnExpression[str]) -> ColumnElement[bool]:
    """`sees`, in a query."""
    # Not LIKE: SQLite compares that without regard to case.
    beginnings = ((place, SCHEME), *((place + "/", _folder(root)) for root in roots))
    return or_(*(func.substr(text, 1, len(beginning)) == beginning for text, beginning in beginnings))


def _folder(root: str) -> str:
    return f"{root.rstrip('/')}/"
