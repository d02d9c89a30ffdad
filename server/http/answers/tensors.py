"""Sends an encoded answer piece by piece, as fast as its reader takes it, and gives its memory back when it is out."""

from collections.abc import Callable

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from server.features.encode import Encoded

_VARY = "Accept, Accept-Encoding"
_SLICE = 2**20
"""Bytes handed to the connection at once: more would be copied into its buffer while the reader is slow."""


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
                    body = bytes(piece[start : start + _SLICE])
                    await send({"type": "http.response.body", "body": body, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            self._release()
