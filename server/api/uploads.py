"""Uploads: bytes from a machine that shares no disk with the service, then a place to name as `upload:ID`."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from sqlalchemy.orm import Session

from control.db.models import Upload
from control.records.access import audit
from control.records.store import uploads
from control.records.store.uploads import NewUpload
from server.http.changes.creation import Created, Posted, create
from server.http.changes.deletion import DryRun, note_deletion
from server.http.deps import Named, Reader, Shared, Submitter, WantedPage
from server.http.problems import request_id
from server.http.schemas.base import Page, Text
from server.http.schemas.keeping import RemovalView, removal_view
from server.http.schemas.uploads import UploadRequest, UploadView, upload_view
from server.http.uploads.receiving import Received, received_body, span_of, take

router = APIRouter(prefix="/uploads", tags=["uploads"])


@router.post("", status_code=201, response_model=UploadView, summary="Announce an upload")
def announce(body: UploadRequest, posted: Posted) -> Any:
    """Then PUT its bytes, in one piece or in parts; it is given up when they are not all there in time."""
    new = NewUpload(kind=body.kind, bytes=body.bytes, sha256=body.sha256, actor=posted.who.name)
    settings = posted.services.settings

    def make(session: Session) -> Created:
        made = uploads.add_upload(session, new, settings.max_upload_bytes, settings.upload_hours)
        posted.note(session, "upload.announce", made.id)
        return Created(f"/v1/uploads/{made.id}", upload_view(made), status=201)

    return create(posted, body, make)


@router.get("", summary="List uploads, newest first")
def list_all(
    _: Reader, services: Shared, page: WantedPage, sha256: Annotated[Text | None, Query()] = None
) -> Page[UploadView]:
    """With `sha256`: those of the same bytes, so that one that was begun can be found again."""
    with services.look() as session:
        found = uploads.list_uploads(session, page, sha256)
        return Page(items=[upload_view(row) for row in found.items], next_page_token=found.next_page_token)


@router.get("/{upload_id}", summary="Show how far an upload is")
def show(upload_id: Named, _: Reader, services: Shared) -> UploadView:
    """`received` is where the next part begins."""
    with services.look() as session:
        return upload_view(uploads.get_upload(session, upload_id))


_BYTES: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    },
    "parameters": [
        {
            "name": "Content-Range",
            "in": "header",
            "required": False,
            "schema": {"type": "string"},
            "description": "`bytes FIRST-LAST/TOTAL` of a part; without it the body begins at byte 0.",
        }
    ],
}


@router.put("/{upload_id}", summary="Send bytes of an upload", openapi_extra=_BYTES)
def send(
    upload_id: Named,
    who: Submitter,
    services: Shared,
    request: Request,
    body: Annotated[Received, Depends(received_body)],
) -> UploadView:
    """The next part (`Content-Range: bytes FIRST-LAST/TOTAL`), or all. What came of a request that broke off counts.

    409 with `received` when it begins elsewhere than the last one ended. With the last byte the digest is checked, and
    an archive looked through; 422 and `failed` when it is not what was announced.
    """

    def note(session: Session, act: str, upload: Upload) -> None:
        details = {"kind": upload.kind, "bytes": upload.bytes, "sha256": upload.digest, "reason": upload.reason}
        audit.note(session, who.name, act, upload.id, details, request_id(request.scope))

    return upload_view(take(services, upload_id, span_of(request), body, note))


@router.delete("/{upload_id}", summary="Delete an upload")
def delete(
    upload_id: Named, who: Submitter, services: Shared, request: Request, dry_run: DryRun = False
) -> RemovalView:
    """409 with `holders` while data sets or an import need it."""
    with services.work() as session:
        removed = uploads.delete_upload(session, upload_id, who.name, dry_run=dry_run)
        note_deletion(session, who, request, "upload.delete", removed, dry_run=dry_run)
    return removal_view(removed, dry_run=dry_run)
