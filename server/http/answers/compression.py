"""Bodies that travel compressed, for clients that insist on it: tensors gain little, and cost much, by it."""

import zlib
from collections.abc import Mapping, Sequence
from typing import Protocol

import zstandard

from server.features.replies.encoded import Encoded
from server.http.problems import BodyTooLarge, Problem

ENCODINGS: Mapping[str, int] = {"gzip": 31, "deflate": 15}
"""By content coding of the Open Inference Protocol's clients, the window bits of zlib that read and write it."""
ZSTD = "zstd"
_LEVEL = 1
"""Of zlib and of Zstandard: tensors gain little by more, and that costs ten times the time."""
_SLICE = 2**20


class _Writer(Protocol):
    def compress(self, data: bytes | memoryview, /) -> bytes: ...

    def flush(self) -> bytes: ...


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
    if reader.unused_data:
        left = len(reader.unused_data)
        raise Problem("bad_request", f"{left} bytes follow the end of the body's {encoding} stream: send one stream")
    return whole


def wished(accept_encoding: str | None, offered: Sequence[str]) -> str | None:
    """The coding a client insists on: the only one it takes, if it is offered; None: the answer as it is.

    Libraries offer all they know on every call; compressing tensors for them would cost more than it saves. `identity`
    is taken by everyone, so naming it says nothing, unless it weighs more than the other, or nothing at all: who
    refuses it gets the coding he weighs highest (RFC 9110, section 12.5.3).

    Raises:
        Problem: 406 when he takes none of `offered` either.
    """
    weights = dict(_weighed(part) for part in (accept_encoding or "").split(",") if part.strip())
    if weights.get("identity", weights.get("*", 1.0)) == 0:
        return _instead(weights, offered)
    plain = weights.pop("identity", 0.0)
    taken = [coding for coding, weight in weights.items() if weight > 0]
    insists = len(taken) == 1 and weights[taken[0]] >= plain
    return taken[0] if insists and taken[0] in offered else None


def _instead(weights: Mapping[str, float], offered: Sequence[str]) -> str:
    """The best of `offered` for who does not take the answer as it is."""
    best = max(offered, key=lambda coding: weights.get(coding, weights.get("*", 0.0)))
    if weights.get(best, weights.get("*", 0.0)) > 0:
        return best
    detail = f"`Accept-Encoding` refuses the answer as it is, and {' and '.join(offered)}: it takes nothing there is"
    raise Problem("not_acceptable", detail)


def compress(encoded: Encoded, encoding: str) -> Encoded:
    """The same answer in a content coding; the length of its JSON stays that of the plain one."""
    writer = _writer(encoding, encoded.length)
    pieces = [*filter(None, map(writer.compress, encoded.slices(_SLICE))), writer.flush()]
    return Encoded(encoded.media_type, pieces, {**encoded.headers, "Content-Encoding": encoding})


def _writer(encoding: str, size: int) -> _Writer:
    if encoding == ZSTD:
        # The frame says its size, so that a reader can take it in one piece, or refuse it.
        return zstandard.ZstdCompressor(_LEVEL).compressobj(size=size)
    return zlib.compressobj(_LEVEL, wbits=ENCODINGS[encoding])


def _weighed(part: str) -> tuple[str, float]:
    coding, *parameters = (piece.strip().lower() for piece in part.split(";"))
    text = next((parameter[2:] for parameter in parameters if parameter.startswith("q=")), "1")
    try:
        return coding, float(text)
    except ValueError:
        return coding, 0.0
