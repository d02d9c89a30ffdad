"""Uploads: what is announced, how far they are."""

from datetime import datetime
from typing import Any

from pydantic import Field

from control.db.models import Upload
from control.records.store.uploads import SCHEME, UploadKind
from server.http.schemas.base import Body, Resource, Text, View


class UploadRequest(Body):
    """What is about to be sent."""

    kind: UploadKind
    """A data set is a tar (plain, gzip, bzip2 or xz) or a zip."""
    bytes: int = Field(ge=1, lt=2**63)
    sha256: Text
    """Of all bytes: 64 hex digits, with or without `sha256:` in front."""


class ContentsView(View):
    """What is in the archive of a data set."""

    files: int
    bytes: int
    """Unpacked."""
    base: str
    """The one folder everything lies in; it is the root. Empty when there is none."""
    images: int
    shards: int
    splits: list[str]
    """Folders that hold CLASS/IMAGE."""


class UploadView(Resource):
    """An upload; `uri` is what data sets and weights name once it is ready."""

    kind: str
    state: str
    """`receiving`, `ready` or `failed`."""
    reason: str | None
    bytes: int
    received: int
    """Bytes that are there: where the next part begins."""
    sha256: str
    uri: str
    contents: ContentsView | None
    expires_at: datetime | None
    """When it is given up if bytes are still missing."""


def upload_view(row: Upload) -> UploadView:
    same = ("id", "created_at", "created_by", "kind", "state", "reason", "bytes", "received", "contents", "expires_at")
    own: dict[str, Any] = {"sha256": row.digest, "uri": f"{SCHEME}{row.id}"}
    return UploadView.model_validate({field: getattr(row, field) for field in same} | own)
