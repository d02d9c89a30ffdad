"""Conditional GETs (RFC 9110, section 13): every JSON answer has an ETag, and one the caller has already is a bare 304.

The tag is of the answer itself, since what is shown (a place in a queue, the newest metrics) changes without the row. A
route that gave the version of its row as ETag keeps it in front, `"7-1f0a..."`, so that `If-Match` can name it.
"""

import hashlib
import re

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_ROW = re.compile(r'"(\d{1,18})"')
_MOST_BYTES = 8 * 2**20
"""A larger answer is passed on as it comes."""
_KEPT = ("etag", "cache-control", "vary", "date", "expires", "location", "x-request-id")
"""Headers of a 304."""


class Conditional:
    """Tags JSON answers to GETs, and leaves out the body of one that `If-None-Match` names."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "GET":
            send = _Answer(send, Headers(scope=scope).get("if-none-match", "")).send
        await self.app(scope, receive, send)


class _Answer:
    """Holds back an answer that can be tagged until it is whole."""

    def __init__(self, send: Send, known: str) -> None:
        self._send = send
        self._known = known
        self._start: Message | None = None
        self._body = b""

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start" and _is_taggable(message):
            self._start = message
        elif self._start is None:
            await self._send(message)
        else:
            self._body += message.get("body", b"")
            if not message.get("more_body"):
                await self._finish(self._start)

    async def _finish(self, start: Message) -> None:
        headers = MutableHeaders(scope=start)
        digest = hashlib.sha256(self._body).hexdigest()[:20]
        row = _ROW.fullmatch(headers.get("etag", ""))
        headers["ETag"] = f'"{row[1]}-{digest}"' if row else f'"{digest}"'
        headers.setdefault("Cache-Control", "private, no-cache")
        if is_known(self._known, headers["ETag"]):
            kept = [(name, value) for name, value in start["headers"] if name.decode("latin-1").lower() in _KEPT]
            start, self._body = {**start, "status": 304, "headers": kept}, b""
        await self._send(start)
        await self._send({"type": "http.response.body", "body": self._body})


def is_known(if_none_match: str, tag: str) -> bool:
    """Whether the header names the tag; weak ones count as well."""
    named = [one.strip().removeprefix("W/") for one in if_none_match.split(",")]
    return tag in named or "*" in named


def _is_taggable(start: Message) -> bool:
    headers = Headers(raw=start["headers"])
    length = headers.get("content-length", "")
    return (
        start["status"] == 200
        and headers.get("content-type", "").partition(";")[0].strip() == "application/json"
        and length.isdigit()
        and int(length) <= _MOST_BYTES
        and ("etag" not in headers or _ROW.fullmatch(headers["etag"]) is not None)
    )
