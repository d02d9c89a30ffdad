"""PNG files by the specification, since Pillow writes no 16-bit colour and none of the odd chunks."""

import struct
import zlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint16]
COLOR_TYPE = {1: 0, 2: 4, 3: 2, 4: 6}
ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
"""First column and row of each pass, and the steps between its columns and rows (PNG specification, 8.2)."""
Chunks = Sequence[tuple[bytes, bytes]]


def noise(channels: int, width: int = 23, height: int = 17) -> Pixels:
    return np.random.default_rng(channels).integers(0, 2**16, (height, width, channels), np.uint16)


def write_png(
    pixels: Pixels, *, interlaced: bool = False, orientation: int | None = None, before: Chunks = (), after: Chunks = ()
) -> bytes:
    """16 bits a channel, [H, W, C]; row n is filtered by method n mod 5, so that all five occur.

    `before` and `after`: more chunks, by whether they come before the pixels.
    """
    height, width, channels = pixels.shape
    header = struct.pack(">IIBBBBB", width, height, 16, COLOR_TYPE[channels], 0, 0, interlaced)
    if orientation is not None:
        exif = Image.Exif()
        exif[274] = orientation
        before = [(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0")), *before]
    return written([(b"IHDR", header), *before, (b"IDAT", packed(pixels, interlaced=interlaced)), *after])


def packed(pixels: Pixels, *, interlaced: bool = False) -> bytes:
    passes = [pixels[y::down, x::right] for x, y, right, down in ADAM7] if interlaced else [pixels]
    return zlib.compress(b"".join(map(_filtered, passes)))


def written(chunks: Iterable[tuple[bytes, bytes]]) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(kind, body) for kind, body in (*chunks, (b"IEND", b"")))


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def animated(first: Pixels, second: Pixels) -> bytes:
    """Of two whole frames."""
    height, width, channels = first.shape
    header = struct.pack(">IIBBBBB", width, height, 16, COLOR_TYPE[channels], 0, 0, 0)
    frames = [struct.pack(">IIIIIHHBB", n, width, height, 0, 0, 1, 10, 0, 0) for n in (0, 1)]
    return written(
        [
            (b"IHDR", header),
            (b"acTL", struct.pack(">II", 2, 0)),
            (b"fcTL", frames[0]),
            (b"IDAT", packed(first)),
            (b"fcTL", frames[1]),
            (b"fdAT", struct.pack(">I", 2) + packed(second)),
        ]
    )


def _filtered(rows: Pixels) -> bytes:
    step = 2 * rows.shape[2]
    done, above = b"", np.zeros(rows.shape[1] * step, np.int64)
    for number, row in enumerate(rows if rows.size else ()):
        raw = np.frombuffer(row.astype(">u2").tobytes(), np.uint8).astype(np.int64)
        left, corner = (np.concatenate([np.zeros(step, np.int64), line])[:-step] for line in (raw, above))
        guesses = (np.zeros_like(raw), left, above, (left + above) // 2, _paeth(left, above, corner))
        done += bytes([number % 5]) + ((raw - guesses[number % 5]) % 256).astype(np.uint8).tobytes()
        above = raw
    return done


def _paeth(left: NDArray[Any], above: NDArray[Any], corner: NDArray[Any]) -> NDArray[Any]:
    near = np.abs(np.stack([above - corner, left - corner, left + above - 2 * corner])).argmin(axis=0)
    return np.where(near == 0, left, np.where(near == 1, above, corner))
