"""Uploads: bytes on their way in, part by part, then a place that data sets and weights may name (`upload:ID`).

Each part is an artifact of its own until the last is there, so that any server may take the next one and none has to
keep anything. The whole is then one artifact, its digest the one that was announced.
"""

import re
from collections.abc import Collection
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any, Literal, get_args

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from control.db.models import Dataset, Run, Upload, UploadPart
from control.db.session import database_time
from control.errors import InvalidRequest, NotFound, NotReady, OtherOffset
from control.records.paging import Listing, Page, paginate
from control.records.store import objects
from control.records.store.removals import Removal, Removed, recorded, remove
from control.states import TERMINAL
from control.storage.archives import Contents
from control.storage.base import prefixed

UploadKind = Literal["weights", "dataset", "bundle", "boxes"]
KINDS: tuple[UploadKind, ...] = get_args(UploadKind)
SCHEME = "upload:"
"""Begins the uri of an upload."""
SERVICE = "detco"
"""Who gives up what was not finished in time."""
MAX_PARTS = 10_000
_DIGEST = re.compile("(sha256:)?[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True, slots=True)
class NewUpload:
    """What is announced of an upload."""

    kind: UploadKind
    bytes: int
    sha256: str
    actor: str


def add_upload(session: Session, new: NewUpload, most_bytes: int, hours: float) -> Upload:
    """Announce an upload; it is given up when its bytes are not all there after `hours`.

    Raises:
        InvalidRequest: no digest, or more than `most_bytes`.
    """
    if not _DIGEST.fullmatch(new.sha256):
        raise InvalidRequest("sha256", "must be the 64 lower-case hex digits of the whole file's SHA-256")
    if not 1 <= new.bytes <= most_bytes:
        raise InvalidRequest("bytes", f"must be 1 to {most_bytes} (DETCO_MAX_UPLOAD_BYTES)")
    upload = Upload(kind=new.kind, bytes=new.bytes, digest=prefixed(new.sha256), created_by=new.actor)
    upload.expires_at = database_time(session) + timedelta(hours=hours)
    session.add(upload)
    session.flush()
    return upload


def get_upload(session: Session, upload_id: str, *, lock: bool = False) -> Upload:
    """The upload; raises `NotFound`."""
    upload = session.get(Upload, upload_id, with_for_update=lock or None, populate_existing=lock)
    if upload is None:
        raise NotFound("upload", upload_id)
    return upload


def list_uploads(session: Session, page: Page, sha256: str | None = None) -> Listing[Upload]:
    """Uploads, newest first; of one digest where it is given."""
    query = select(Upload) if sha256 is None else select(Upload).where(Upload.digest == prefixed(sha256))
    return paginate(session, query, Upload.id, page)


def expect(upload: Upload, start: int, size: int) -> None:
    """Raise unless `size` bytes from `start` on are what comes next.

    Raises:
        OtherOffset: they are not.
        NotReady: it failed, and takes no more bytes.
        InvalidRequest: they are more than were announced.
    """
    if upload.state == "failed":
        raise NotReady(f"upload {upload.id} failed ({upload.reason}): announce it again")
    if start != upload.received:
        raise OtherOffset(upload.id, start, upload.received)
    if start + size > upload.bytes:
        raise InvalidRequest("body", f"{start + size} bytes are more than the {upload.bytes} that were announced")


def take_part(session: Session, upload_id: str, start: int, size: int, key: str) -> Upload:
    """Note bytes that are in the store under `key`; raises as `expect`, `NotFound`, and `BeingRemoved`."""
    upload = get_upload(session, upload_id, lock=True)
    expect(upload, start, size)
    if len(parts_of(session, upload_id)) >= MAX_PARTS and start + size < upload.bytes:
        raise InvalidRequest("body", f"an upload has at most {MAX_PARTS} parts: send larger ones")
    objects.hold(session, key, size)
    session.add(UploadPart(upload_id=upload_id, start=start, bytes=size, key=key))
    upload.received += size
    session.flush()
    return upload


def parts_of(session: Session, upload_id: str) -> list[str]:
    """Keys of what has come, in order."""
    query = select(UploadPart.key).where(UploadPart.upload_id == upload_id).order_by(UploadPart.start)
    return list(session.scalars(query))


def complete(session: Session, upload_id: str, key: str, contents: Contents | None) -> Upload:
    """All bytes are there, stored under `key`; its parts are let go of."""
    upload = get_upload(session, upload_id, lock=True)
    if upload.state == "receiving":  # else another request saw to it
        objects.hold(session, key, upload.bytes)
        upload.state, upload.key, upload.expires_at = "ready", key, None
        upload.contents = None if contents is None else asdict(contents)
        objects.doom(session, _let_go_of_parts(session, upload))
    return upload


def fail(session: Session, upload_id: str, reason: str) -> Upload:
    """The bytes are not what they should be: they are let go of."""
    upload = get_upload(session, upload_id, lock=True)
    if upload.state == "receiving":
        upload.state, upload.reason, upload.received = "failed", reason, 0
        objects.doom(session, _let_go_of_parts(session, upload))
    return upload


def usable_upload(session: Session, uri: str, kind: UploadKind) -> Upload:
    """The upload that `upload:ID` names, held in share mode, so that it cannot be deleted before its user is there.

    Raises:
        InvalidRequest: there is none, or it is of another kind.
        NotReady: bytes of it are missing.
    """
    upload_id = uri.removeprefix(SCHEME)
    upload = session.get(Upload, upload_id, with_for_update={"read": True}, populate_existing=True)
    if upload is None:
        raise InvalidRequest("uri", f"there is no upload {upload_id[:80]!r}")
    if upload.kind != kind:
        raise InvalidRequest("uri", f"upload {upload.id} is of kind {upload.kind!r}, not {kind!r}")
    if upload.state != "ready":
        left = upload.reason or f"{upload.received} of {upload.bytes} bytes are there"
        raise NotReady(f"upload {upload.id} is {upload.state}: {left}")
    return upload


def check_contents(upload: Upload, kind: str) -> None:
    """Raise `InvalidRequest` unless an archive is laid out as a data set of this kind."""
    found = upload.contents or {}
    if kind == "labelled":
        if not {"train", "val"} <= set(found.get("splits", ())):
            raise InvalidRequest("uri", f"upload {upload.id} has no train/CLASS/ and val/CLASS/ with images in them")
    elif not (found.get("images") or found.get("shards") or found.get("is_saved")):
        raise InvalidRequest(
            "uri", f"upload {upload.id} has no images in it, nor was it saved by Hugging Face datasets"
        )


def known(session: Session, digests: Collection[str]) -> set[str]:
    """Those of the digests that some upload has."""
    return set(session.scalars(select(Upload.digest).where(Upload.digest.in_(digests))))


def delete_upload(session: Session, upload_id: str, actor: str, *, dry_run: bool = False) -> Removed:
    """Delete an upload with its bytes. Asking again gives the answer again.

    Raises:
        NotFound: there never was one.
        InUse: data sets, or imports and extractions that have not ended, need it.
    """
    upload = session.get(Upload, upload_id, with_for_update=True, populate_existing=True)
    if upload is None:
        return recorded(session, "upload", upload_id)
    keys = frozenset(key for key in (upload.key, *parts_of(session, upload_id)) if key is not None)
    plan = Removal(kind="upload", target=upload_id, holders=tuple(_holders(session, upload)), keys=keys)
    return remove(session, plan, lambda: let_go(session, upload), actor, dry_run=dry_run)


def let_go(session: Session, upload: Upload) -> None:
    """Take an upload out of sight; its objects are to be doomed."""
    _let_go_of_parts(session, upload)
    session.delete(upload)
    session.flush()


def give_up(session: Session, limit: int = 10) -> int:
    """Delete uploads whose time is over; returns how many."""
    query = select(Upload.id).where(Upload.expires_at < database_time(session)).order_by(Upload.id).limit(limit)
    late = session.scalars(query).all()
    for upload_id in late:
        delete_upload(session, upload_id, SERVICE)
    return len(late)


def _let_go_of_parts(session: Session, upload: Upload) -> list[str]:
    keys = parts_of(session, upload.id)
    session.execute(delete(UploadPart).where(UploadPart.upload_id == upload.id))
    session.flush()
    return keys


def _holders(session: Session, upload: Upload) -> list[str]:
    uri = f"{SCHEME}{upload.id}"
    names = session.scalars(
        select(Dataset.name).where(Dataset.root == uri, Dataset.deleted_at.is_(None)).order_by(Dataset.name)
    )
    importing: Any = Run.spec["path"].as_string() == uri
    runs = session.scalars(select(Run.id).where(Run.kind == "import", importing, Run.state.not_in(TERMINAL)))
    reading: Any = Run.spec["boxes"].as_string() == uri
    boxes = session.scalars(select(Run.id).where(Run.kind == "extract", reading, Run.state.not_in(TERMINAL)))
    found = ((f"data set {name}" for name in names), (f"import {run}" for run in runs))
    return [*found[0], *found[1], *(f"extraction {run}" for run in boxes)]
