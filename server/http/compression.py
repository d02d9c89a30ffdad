"""Bodies that travel compressed, as the Open Inference Protocol's clients send and take them when asked to."""

import zlib
from collections.abc import Mapping, Sequence

from server.features.encode import Encoded
from server.http.problems import BodyTooLarge, Problem

ENCODINGS: Mapping[str, int] = {"gzip": 31, "deflate": 15}
"""By content coding, the window bits of zlib that read and write it."""
_LEVEL = 1
"""Tensors gain little by more, and that costs ten times the time."""


def decompress(body: bytes, encoding: str, limit: int) -> bytes:
    """The body behind a content coding.

    Raises:
        Problem: another coding (501), or bytes that are not in it.
        BodyTooLarge: it is longer than `limit` bytes.
    """
    if encoding in ("", "identity"):
        return body
    if encoding not in ENCODINGS:
        offered = ", ".join(ENCODINGS)
        detail = f"bodies are read as {offered} or as they are, not in the content coding {encoding[:40]}"
        raise Problem("not_implemented", detail, headers={"Accept-Encoding": offered})
    reader = zlib.decompressobj(ENCODINGS[encoding])
    try:
        whole = reader.decompress(body, limit + 1)
    except zlib.error as error:
        raise Problem("bad_request", f"the body is not {encoding}: {error}") from error
    if len(whole) > limit:
        raise BodyTooLarge(limit)
    if not reader.eof:
        raise Problem("bad_request", f"the body is not whole: its {encoding} stream does not end")
    return whole


def wished(accept_encoding: str | None) -> str | None:
    """The coding a client insists on: the only one it names.

    Libraries offer all they know on every call; compressing tensors for them would cost more than it saves.
    """
    named = [part.split(";")[0].strip().lower() for part in (accept_encoding or "").split(",") if part.strip()]
    return named[0] if len(named) == 1 and named[0] in ENCODINGS else None


def compress(encoded: Encoded, encoding: str) -> Encoded:
    """The same answer in a content coding; the length of its JSON stays that of the plain one."""
    writer = zlib.compressobj(_LEVEL, wbits=ENCODINGS[encoding])
    pieces: Sequence[bytes] = [*(writer.compress(piece) for piece in encoded.pieces), writer.flush()]
    return Encoded(encoded.media_type, [b"".join(pieces)], {**encoded.headers, "Content-Encoding": encoding})
