"""The end of every answer of the feature path: laid out, compressed for who insists, sent piece by piece, as fast as
its reader takes it; its memory is given back when it is out.

Here and wherever else the feature path only computes, threads are asyncio's. Those of `run_in_threadpool` are the
routes' that touch tables: they all hang when a database does.
"""

import asyncio
from collections.abc import Callable

from fastapi import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from server.features.encode import Encoded
from server.features.schemas import FeatureReply
from server.http.access import note_reply
from server.http.answers.compression import compress

_VARY = "Accept, Accept-Encoding"
_SLICE = 2**20
"""Bytes handed to the connection at once: more would be copied into its buffer while the reader is slow."""


async def answer(
    request: Request,
    reply: FeatureReply,
    lay_out: Callable[[], Encoded],
    coding: str | None,
    *,
    brief: bool = False,
) -> "TensorResponse":
    """The reply as `lay_out` gives it, in a content coding where the caller insists on one (`compression.wished`);
    whatever goes wrong, the reply is released.

    `brief`: laying out takes no longer than a thread would cost.

    Raises:
        Overloaded: there is no memory to hold it compressed beside it as it is.
    """
    note_reply(request.scope, reply)
    try:
        encoded = lay_out() if brief else await asyncio.to_thread(lay_out)
        if coding is not None:
            # At worst as long again; what it comes to takes the place of both.
            reply.hold(2 * encoded.length)
            encoded = await asyncio.to_thread(compress, encoded, coding)
            reply.hold(encoded.length)
    except BaseException:
        reply.release()
        raise
    return TensorResponse(encoded, reply.release)


class TensorResponse(Response):
    """A body of known length whose pieces are never joined."""

    def __init__(self, encoded: Encoded, release: Callable[[], None]) -> None:
        headers = {**encoded.headers, "Content-Length": str(encoded.length), "Vary": _VARY}
        super().__init__(None, headers=headers, media_type=encoded.media_type)
        self._encoded = encoded
        self._release = release

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            for piece in self._encoded.pieces:
                for start in range(0, len(piece), _SLICE):
                    # A view, where the letter of ASGI has bytes: a copy would have to be made, and found memory for.
                    body = piece[start : start + _SLICE]
                    await send({"type": "http.response.body", "body": body, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            self._release()
