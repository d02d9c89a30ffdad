"""The end of every answer of the feature path: laid out, compressed for who insists, sent piece by piece, as fast as
its reader takes it; its memory is given back when it is out.

Here and wherever else the feature path only computes, threads are asyncio's. Those of `run_in_threadpool` are the
routes' that touch tables: they all hang when a database does.
"""

import asyncio
import logging
import math
from collections.abc import Callable

from fastapi import Request
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from server.features.replies.encoded import Encoded
from server.features.schemas import FeatureReply
from server.http.access import note, note_reply
from server.http.answers.compression import compress

log = logging.getLogger(__name__)

_VARY = "Accept, Accept-Encoding"
_SLICE = 2**20
"""Bytes handed to the connection at once: more would be copied into its buffer while the reader is slow."""
FREE_SECONDS = 60.0
"""Every reader has so long, however slow."""
_OWN_SECONDS = 5.0
"""After so long, what is left of an answer is copied: it is a view of the batch it was computed in, which can then go.
"""
SLOWEST = 2**18
"""Bytes a second that a reader must take on average after `FREE_SECONDS`, or its connection is cut: 2 Mbit/s."""


async def answer(
    request: Request,
    reply: FeatureReply,
    lay_out: Callable[[], Encoded],
    coding: str | None,
    *,
    copied: Callable[[], int] | None = None,
    brief: bool = False,
) -> "TensorResponse":
    """The reply as `lay_out` gives it, in a content coding where the caller insists on one (`compression.wished`);
    whatever goes wrong, the reply is released.

    `copied`: tells the bytes that laying out takes beside what is held by now; None: none. `brief`: it takes no longer
    than a thread would cost.

    Raises:
        Overloaded: there is no memory for that, or to hold it compressed beside it as it is.
    """
    note_reply(request.scope, reply)
    try:
        if copied is not None:
            reply.memory.take(copied())
        encoded = lay_out() if brief else await asyncio.to_thread(lay_out)
        reply.memory.settle(encoded.length)
        if coding is not None:
            # At worst as long again; what it comes to takes the place of both.
            reply.memory.hold(2 * encoded.length)
            encoded = await asyncio.to_thread(compress, encoded, coding)
            reply.memory.settle(encoded.length)
    except BaseException:
        reply.release()
        raise
    return TensorResponse(encoded, reply.release)


class TensorResponse(Response):
    """A body of known length whose pieces are never joined."""

    def __init__(
        self,
        encoded: Encoded,
        release: Callable[[], None],
        seconds: float | None = None,
        own_seconds: float = _OWN_SECONDS,
    ) -> None:
        """`seconds`: that its reader has; None: by its length. `own_seconds`: before it has memory of its own."""
        headers = {**encoded.headers, "Content-Length": str(encoded.length), "Vary": _VARY}
        super().__init__(None, headers=headers, media_type=encoded.media_type)
        self._encoded = encoded
        self._release = release
        self._seconds = FREE_SECONDS + encoded.length / SLOWEST if seconds is None else seconds
        self._own_seconds = own_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises `ClientDisconnect` when the reader has left. To one that is too slow half an answer is left."""
        try:
            async with asyncio.timeout(self._seconds) as limit:
                await self._send(receive, send)
        except TimeoutError:
            if not limit.expired():
                raise
            log.warning("the reader of %d bytes took more than %.0f s: cut off", self._encoded.length, self._seconds)
            # The server cuts the connection, since its body is not whole.
            note(scope, cause="slow_reader")
        finally:
            self._release()

    async def _send(self, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        # What is sent at once needs nobody to watch whether its reader stays.
        left = asyncio.ensure_future(_gone(receive)) if self._encoded.length > _SLICE else None
        try:
            await self._send_body(send, left)
        finally:
            if left is not None:
                left.cancel()

    async def _send_body(self, send: Send, left: "asyncio.Task[None] | None") -> None:
        now = asyncio.get_running_loop().time
        sent, slices, own_at = 0, self._encoded.slices(_SLICE), now() + self._own_seconds
        while (body := next(slices, None)) is not None:
            await send({"type": "http.response.body", "body": body, "more_body": True})
            sent += len(body)
            del body
            if left is not None and left.done():
                raise ClientDisconnect
            if now() >= own_at:
                own_at = math.inf
                self._encoded = await asyncio.to_thread(self._encoded.rest, sent)
                slices = self._encoded.slices(_SLICE)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _gone(receive: Receive) -> None:
    """Return when the caller has hung up, or has the whole answer. The request's body must be read."""
    while (await receive())["type"] != "http.disconnect":
        pass
