"""16-bit colour PNGs are read to the last bit, whatever filters and interlacing they were written with."""

import struct
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from detco_core.contract.config import ViewsConfig
from detco_core.contract.errors import DataError
from detco_core.data.channels import Facts, inspect, open_pixels
from detco_core.data.images import open_image

Pixels = NDArray[np.uint16]
COLOR_TYPE = {2: 4, 3: 2, 4: 6}
ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
"""First column and row of each pass, and the steps between its columns and rows (PNG specification, 8.2)."""


def noise(channels: int, width: int = 23, height: int = 17) -> Pixels:
    return np.random.default_rng(channels).integers(0, 2**16, (height, width, channels), np.uint16)


def write_png(pixels: Pixels, *, interlaced: bool = False, orientation: int | None = None) -> bytes:
    """By the specification: row n is filtered by method n mod 5, so that all five occur."""
    height, width, channels = pixels.shape
    passes = [pixels[y::down, x::right] for x, y, right, down in ADAM7] if interlaced else [pixels]
    data = b"".join(map(filtered, passes))
    header = struct.pack(">IIBBBBB", width, height, 16, COLOR_TYPE[channels], 0, 0, interlaced)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(data)), (b"IEND", b"")]
    if orientation is not None:
        exif = Image.Exif()
        exif[274] = orientation
        chunks.insert(1, (b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0")))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(kind, body) for kind, body in chunks)


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def filtered(rows: Pixels) -> bytes:
    step = 2 * rows.shape[2]
    written, above = b"", np.zeros(rows.shape[1] * step, np.int64)
    for number, row in enumerate(rows if rows.size else ()):
        raw = np.frombuffer(row.astype(">u2").tobytes(), np.uint8).astype(np.int64)
        left, corner = (np.concatenate([np.zeros(step, np.int64), line])[:-step] for line in (raw, above))
        guesses = (np.zeros_like(raw), left, above, (left + above) // 2, paeth(left, above, corner))
        written += bytes([number % 5]) + ((raw - guesses[number % 5]) % 256).astype(np.uint8).tobytes()
        above = raw
    return written


def paeth(left: NDArray[np.int64], above: NDArray[np.int64], corner: NDArray[np.int64]) -> NDArray[np.int64]:
    near = np.abs(np.stack([above - corner, left - corner, left + above - 2 * corner])).argmin(axis=0)
    return np.where(near == 0, left, np.where(near == 1, above, corner))


def read(file: bytes, channels: int, bit_depth: int = 16) -> NDArray[np.generic]:
    views = ViewsConfig(channels=channels, bit_depth=16 if bit_depth == 16 else 8)
    found = open_pixels(BytesIO(file), None, views)
    return np.asarray(found)


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("channels", [2, 3, 4])
def test_every_bit_is_read(channels: int, interlaced: bool) -> None:
    stored = noise(channels)
    file = write_png(stored, interlaced=interlaced)
    assert inspect(BytesIO(file)) == Facts(23, 17, channels, 16)
    found = read(file, channels)
    assert found.dtype == np.uint16
    assert np.array_equal(found, stored)


def test_from_a_file_as_from_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(write_png(noise(3)))
    found = open_pixels(str(path), None, ViewsConfig(channels=3, bit_depth=16))
    assert np.array_equal(np.asarray(found), noise(3))


def test_alpha_is_dropped_where_grey_or_rgb_is_asked_for() -> None:
    assert np.array_equal(read(write_png(noise(4)), 3), noise(4)[:, :, :3])
    assert np.array_equal(read(write_png(noise(2)), 1), noise(2)[:, :, :1])
    assert np.array_equal(read(write_png(noise(2)), 3), np.repeat(noise(2)[:, :, :1], 3, axis=2))
    gray = noise(3).astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    assert np.array_equal(read(write_png(noise(3)), 1)[:, :, 0], np.rint(gray).astype(np.uint16))


def test_an_eight_bit_run_has_the_high_byte_as_ever() -> None:
    assert np.array_equal(read(write_png(noise(3)), 3, bit_depth=8), noise(3) >> 8)
    assert np.array_equal(read(write_png(noise(4)), 4, bit_depth=8), noise(4) >> 8)
    assert np.array_equal(np.asarray(open_image(BytesIO(write_png(noise(3))))), noise(3) >> 8)


def test_it_is_brought_upright() -> None:
    turned = read(write_png(noise(3), orientation=6), 3)
    assert np.array_equal(turned, np.rot90(noise(3), -1))


def test_half_a_file_is_broken() -> None:
    file = write_png(noise(3, 200, 200))
    with pytest.raises(DataError, match=r"truncated|broken|incomplete"):
        read(file[: len(file) // 2], 3)
