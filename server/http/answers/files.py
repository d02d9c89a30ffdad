"""Sends stored files: whole, or the part a Range asks for, with their digest as the strong ETag (RFC 9110)."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from fastapi import Request
from starlette.responses import Response, StreamingResponse

from control.reading import ReadingRoom
from server.http.answers.conditional import is_known
from server.http.problems import Problem

_BINARY = "application/octet-stream"
BINARY: dict[int | str, dict[str, Any]] = {
    200: {"content": {_BINARY: {}}, "description": "The file; 206 for a range of it."}
}
"""How a route that sends a file describes its answers."""
_ONE_RANGE = re.compile(r"bytes=(\d{0,19})-(\d{0,19})")

Opener = Callable[[int, int], Iterator[bytes]]
"""The bytes from a start up to, not including, an end."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file to send; `open` gives the bytes of a range."""

    name: str
    size: int
    digest: str | None
    """Of a file that never changes; None for one that still grows."""
    media_type: str
    open: Opener

    @classmethod
    def of_store(cls, room: ReadingRoom, name: str, digest: str) -> "StoredFile":
        """A file of the artifact store, verified; raises `ArtifactMissing` or `DigestMismatch` when it is damaged."""
        found = room.find(digest)
        return cls(name, found.size, digest, _BINARY, found.read)


def send_file(request: Request, file: StoredFile) -> Response:
    """The file as the request wants it: 304 when the caller has it, 206 for one range, else all of it.

    Several ranges at once are answered with the whole file, as the standard allows.

    Raises:
        Problem: 416 when the file has no such range.
    """
    etag = f'"{file.digest}"' if file.digest else ""
    headers = {"Accept-Ranges": "bytes"} | (_lasting(file.name, etag) if etag else {"Cache-Control": "no-store"})
    if etag and is_known(request.headers.get("if-none-match", ""), etag):
        return Response(status_code=304, headers=headers)
    span = wanted_range(request.headers.get("range"), file.size)
    if span is None or request.headers.get("if-range", etag) != etag:
        return _stream(file, 0, file.size, 200, headers)
    start, end = span
    return _stream(file, start, end, 206, headers | {"Content-Range": f"bytes {start}-{end - 1}/{file.size}"})


def wanted_range(header: str | None, size: int) -> tuple[int, int] | None:
    """Start and end (not included) of a Range header's one range; None when there is none to be honoured.

    Raises:
        Problem: 416 when it begins behind the end of the file.
    """
    found = _ONE_RANGE.fullmatch(header.replace(" ", "")) if header else None
    if found is None or found.groups() == ("", ""):
        return None
    first, last = found.groups()
    if first == "":
        start, end = max(0, size - int(last)), size
    else:
        start, end = int(first), min(size, int(last) + 1) if last else size
    if last and first and int(last) < int(first):
        return None
    if start >= size or (first == "" and int(last) == 0):
        headers = {"Content-Range": f"bytes */{size}"}
        raise Problem("range_not_satisfiable", f"the file has {size} bytes", headers=headers)
    return start, end


def _lasting(name: str, etag: str) -> dict[str, str]:
    return {
        "ETag": etag,
        "Content-Disposition": f'attachment; filename="{name}"',
        "Cache-Control": "private, max-age=31536000, immutable",
    }


def _stream(file: StoredFile, start: int, end: int, status: int, headers: dict[str, str]) -> Response:
    length = {"Content-Length": str(end - start)}
    return StreamingResponse(file.open(start, end), status, headers=headers | length, media_type=file.media_type)
