"""Counts the pieces that a file is made of before Pillow goes through them.

Pillow reads the segments in front of a JPEG's first scan, and the chunks of a PNG, one by one in Python: a file of
32 MB that is nothing but empty ones takes 8 s of processor time, and the lock that all other threads wait for. What is
in them it keeps.
"""

from typing import NamedTuple

from detco_core.pixels.stored import Stored

MAX_PIECES = 2**16
"""Of a file: 32 MB in pieces of 512 bytes. Encoders write IDAT chunks of 8 KiB, and APP segments of up to 64 KiB."""

_STUFFED, _FILLING, _SCAN = 0x00, 0xFF, 0xDA
_ALONE = frozenset((0x01, *range(0xD0, 0xDA)))
"""Markers without a length."""
_FRAMES = frozenset((*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0)))
_SEQUENTIAL = (0xC0, 0xC1)
_SIGNATURE_BYTES, _CHUNK_BYTES = 8, 12
"""Of a PNG: before its first chunk, and of a chunk beside its data."""
_STREAMED = (b"IDAT", b"fdAT")
"""Chunks that are unpacked as they are read."""


class Pieces(NamedTuple):
    """What a file is made of."""

    number: int
    """Counted to one over `MAX_PIECES` at most."""
    besides: int
    """Bytes of those that hold no pixels, as far as they are there."""
    one_scan: bool = False
    """A JPEG whose first scan is its only one: libjpeg takes no other then."""


def jpeg_pieces(data: Stored) -> Pieces:
    """Segments of a JPEG before its first scan, and bytes between them."""
    found, at, end = 0, 0, len(data)
    frames: list[bytes] = []
    while at < end - 1 and found <= MAX_PIECES:
        found += 1
        head = data[at : at + 10]
        kind = head[1]
        if head[0] != _FILLING or kind in (_STUFFED, _FILLING):
            at += 1
            continue
        if kind == _SCAN:
            return Pieces(found, at, _in_one_scan(frames, head))
        if kind in _FRAMES:
            frames.append(head)
        at += 2 if kind in _ALONE else 2 + int.from_bytes(head[2:4])
    return Pieces(found, min(at, end))


def _in_one_scan(frames: list[bytes], scan: bytes) -> bool:
    """Whether there is one frame, a sequential one, and the scan is of all its components; by libjpeg's `jdinput.c`."""
    return len(frames) == 1 and frames[0][1] in _SEQUENTIAL and frames[0][9:10] == scan[4:5] != b""


def png_pieces(data: Stored) -> Pieces:
    """Chunks of a PNG, up to its end: what is behind it no reader looks at."""
    found, besides, at, end = 0, 0, _SIGNATURE_BYTES, len(data)
    while at < end and found <= MAX_PIECES:
        found += 1
        head = data[at : at + 8]
        following = at + _CHUNK_BYTES + int.from_bytes(head[:4])
        if head[4:] not in _STREAMED:
            besides += min(following, end) - at
        if head[4:] == b"IEND":
            break
        at = following
    return Pieces(found, besides)
