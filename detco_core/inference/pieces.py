"""Counts the pieces that a file is made of before Pillow goes through them.

Pillow reads the segments in front of a JPEG's first scan, and the chunks of a PNG, one by one in Python: a file of
32 MB that is nothing but empty ones takes 8 s of processor time, and the lock that all other threads wait for.
"""

from collections.abc import Callable

MAX_PIECES = 2**16
"""Of a file: 32 MB in pieces of 512 bytes. Encoders write IDAT chunks of 8 KiB, and APP segments of up to 64 KiB."""

_STUFFED, _FILLING, _SCAN = 0x00, 0xFF, 0xDA
_ALONE = frozenset((0x01, *range(0xD0, 0xDA)))
"""Markers without a length."""
_SIGNATURE_BYTES, _CHUNK_BYTES = 8, 12
"""Of a PNG: before its first chunk, and of a chunk beside its data."""


def jpeg_pieces(data: bytes) -> int:
    """Segments of a JPEG before its first scan, and bytes between them; counts to one over `MAX_PIECES` at most."""
    found, at, last = 0, 0, len(data) - 1
    while at < last and found <= MAX_PIECES:
        found += 1
        kind = data[at + 1]
        if data[at] != _FILLING or kind in (_STUFFED, _FILLING):
            at += 1
            continue
        if kind == _SCAN:
            break
        at += 2 if kind in _ALONE else 2 + int.from_bytes(data[at + 2 : at + 4])
    return found


def png_pieces(data: bytes) -> int:
    """Chunks of a PNG; counts to one over `MAX_PIECES` at most."""
    found, at = 0, _SIGNATURE_BYTES
    while at < len(data) and found <= MAX_PIECES:
        found += 1
        at += _CHUNK_BYTES + int.from_bytes(data[at : at + 4])
    return found


def has_too_many(data: bytes, count: Callable[[bytes], int]) -> bool:
    """Whether a file has more than `MAX_PIECES`."""
    return len(data) > MAX_PIECES and count(data) > MAX_PIECES
