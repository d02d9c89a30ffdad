"""Takes the bytes of an upload from the network to the artifact store, and makes a whole of its parts."""

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from tempfile import NamedTemporaryFile, TemporaryDirectory
from typing import BinaryIO, cast

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from sqlalchemy.orm import Session
from starlette.requests import ClientDisconnect

from control.db.models import Upload
from control.errors import BadArchive, DigestMismatch, InvalidRequest
from control.records.store import uploads
from control.storage.archives import Contents, survey
from control.storage.base import place_verified
from server.http.deps import Services, services_of
from server.http.problems import Problem

Note = Callable[[Session, str, Upload], None]
"""Writes down that an upload has ended: `upload.complete` or `upload.fail`."""
_RANGE = re.compile(r"bytes (?:(\d{1,18})-(\d{1,18})|\*)/(\d{1,18})")
_FLUSH = 1 << 20
"""Bytes gathered before the disk is called."""


@dataclass(frozen=True, slots=True)
class Span:
    """What a request says its body is; `end` is None where only the length of the body will tell."""

    start: int
    end: int | None
    total: int | None


@dataclass(slots=True)
class Received:
    """A body on this server's disk for as long as its request lives."""

    path: Path
    size: int = 0
    digest: str = ""
    is_broken: bool = False
    """The connection ended before the body did: what came is as good as any."""


def span_of(request: Request) -> Span:
    """The Content-Range of a request; without one its body begins at byte 0. Raises `Problem` (422)."""
    header = request.headers.get("content-range")
    if header is None:
        return Span(0, None, None)
    found = _RANGE.fullmatch(header.strip())
    if found is None:
        detail = f"Content-Range must be `bytes FIRST-LAST/TOTAL`, or `bytes */TOTAL` to ask, not {header[:80]!r}"
        raise Problem("invalid_request", detail)
    first, last, total = found.groups()
    if first is None:
        return Span(0, 0, int(total))
    if not int(first) <= int(last) < int(total):
        raise Problem("invalid_request", f"Content-Range {header[:80]!r} ends before it begins, or after the total")
    return Span(int(first), int(last) + 1, int(total))


async def received_body(request: Request) -> AsyncIterator[Received]:
    """A dependency: the body as a file, bounded by the middleware; what came of one that broke off is kept too."""
    folder = services_of(request).settings.data_dir / "uploads"
    with await run_in_threadpool(_open, folder) as file:
        received = Received(Path(file.name))
        await _write(request, cast(BinaryIO, file), received)
        yield received


def _open(folder: Path) -> "NamedTemporaryFile[bytes]":  # type: ignore[valid-type]  # it is a function to mypy
    folder.mkdir(parents=True, exist_ok=True)
    return NamedTemporaryFile(dir=folder, prefix="part-")


async def _write(request: Request, file: BinaryIO, received: Received) -> None:
    hasher, gathered = hashlib.sha256(), bytearray()

    def flush() -> None:
        hasher.update(gathered)
        file.write(gathered)

    try:
        async for chunk in request.stream():
            gathered += chunk
            received.size += len(chunk)
            if len(gathered) >= _FLUSH:
                await run_in_threadpool(flush)
                gathered = bytearray()
    except ClientDisconnect:
        received.is_broken = True
    await asyncio.shield(run_in_threadpool(flush))
    file.flush()
    received.digest = f"sha256:{hasher.hexdigest()}"


def take(services: Services, upload_id: str, span: Span, body: Received, note: Note) -> Upload:
    """Store a part, and the whole when it was the last; `note` hears of the end, good or bad, in its transaction.

    Raises:
        OtherOffset, NotReady, InvalidRequest: it is not what comes next, or the whole is not what was announced.
    """
    with services.look() as session:
        upload = uploads.get_upload(session, upload_id)
    _check(upload, span, body)
    if upload.state == "receiving" and body.size:
        uploads.expect(upload, span.start, body.size)
        key = services.store.put(body.path, body.digest)
        with services.work() as session:
            upload = uploads.take_part(session, upload_id, span.start, body.size, key)
    if upload.state == "receiving" and upload.received == upload.bytes:
        upload = _finish(services, upload, note)
    return upload


def _check(upload: Upload, span: Span, body: Received) -> None:
    if span.total not in (None, upload.bytes):
        raise InvalidRequest("Content-Range", f"{upload.bytes} bytes were announced, not {span.total}")
    if upload.state == "ready" or (body.size == 0 and not body.is_broken and span.end == 0):
        return  # sent once more, or only a question
    uploads.expect(upload, span.start, body.size)
    if span.end is not None and body.size != span.end - span.start and not body.is_broken:
        raise InvalidRequest("body", f"has {body.size} bytes, and Content-Range says {span.end - span.start}")


def _finish(services: Services, upload: Upload, note: Note) -> Upload:
    """Make one artifact of the parts; what is not as announced is let go of at once."""
    with services.look() as session:
        parts = uploads.parts_of(session, upload.id)
    try:
        with TemporaryDirectory(dir=services.settings.data_dir / "uploads", prefix="whole-") as folder:
            whole = Path(folder, "whole")
            place_verified(chain.from_iterable(map(services.store.open_range, parts)), whole, upload.digest)
            contents = _look_through(whole, upload, services.settings.max_unpacked_bytes)
            key = services.store.put(whole, upload.digest)
    except (DigestMismatch, BadArchive) as error:
        bad = "the bytes are not those of sha256" if isinstance(error, DigestMismatch) else f"the archive is {error}"
        upload = _end(services, note, "upload.fail", upload.id, lambda session: uploads.fail(session, upload.id, bad))
        if upload.state == "ready":  # another request was faster, and let go of the parts under this one
            return upload
        raise InvalidRequest("body", f"upload {upload.id}: {bad}; announce it again") from error
    return _end(
        services,
        note,
        "upload.complete",
        upload.id,
        lambda session: uploads.complete(session, upload.id, key, contents),
    )


def _end(services: Services, note: Note, act: str, upload_id: str, move: Callable[[Session], Upload]) -> Upload:
    """Only whoever ends it notes that."""
    with services.work() as session:
        goes_on = uploads.get_upload(session, upload_id, lock=True).state == "receiving"
        upload = move(session)
        if goes_on:
            note(session, act, upload)
        return upload


def _look_through(whole: Path, upload: Upload, most: int) -> Contents | None:
    return survey(whole, most) if upload.kind == "dataset" else None
