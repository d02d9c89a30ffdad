"""What a `uri` names, wherever that is: a folder or file under the allowed roots, or bytes that were uploaded.

A place is what the tables hold and what a claim is matched on: a resolved absolute path, or `upload:ID`, which every
worker can have.
"""

from collections.abc import Mapping, Sequence

from sqlalchemy import ColumnElement, SQLColumnExpression, func, or_
from sqlalchemy.orm import Session

from control.records import roots as local
from control.records.uploads import SCHEME, check_contents, usable_upload


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
    root = local.resolve_uri(uri, roots)
    local.check_layout(root, kind, splits)
    return str(root)


def file_place(session: Session, uri: str, roots: Sequence[str]) -> str:
    """Where a file of weights lies; raises as `dataset_place`."""
    if uri.startswith(SCHEME):
        return f"{SCHEME}{usable_upload(session, uri, 'weights').id}"
    return str(local.resolve_file(uri, roots))


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
