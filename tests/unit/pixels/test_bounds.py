"""Every format is looked at by its own rules; files that are only odd are left to their readers."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from detco_core.contract.errors import ImageError
from detco_core.pixels.bounds import MAX_BESIDES, MAX_HEADER, MAX_WHOLE, check_file
from detco_core.pixels.stored import stored

MOST = 10**6


def made(format: str, **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.full((40, 56, 3), 99, np.uint8)).save(file, format, **options)
    return file.getvalue()


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF"])
def test_whole_pictures_are_taken_and_so_is_every_beginning_of_one(format: str) -> None:
    data = made(format)
    for length in (*range(64), len(data) // 2, len(data)):
        check_file(data[:length], MOST)


def sparse(folder: Path, head: bytes, size: int) -> Path:
    """A file that says much and takes no room on the disk."""
    path = folder / "sparse"
    with path.open("wb") as file:
        file.write(head)
        file.truncate(size)
    return path


PNG_HEAD = made("PNG")[:33]
TEXT = struct.pack(">I4s", MAX_BESIDES, b"tEXt")
PIXELS = struct.pack(">I4s", MAX_BESIDES, b"IDAT")
SEGMENTS = b"\xff\xe0\xff\xff" + bytes(65533)


@pytest.mark.parametrize(
    ("head", "size", "reason"),
    [
        (PNG_HEAD + TEXT, 33 + 12 + MAX_BESIDES, "bytes beside its pixels"),
        (PNG_HEAD + PIXELS, 33 + 12 + MAX_BESIDES, None),
        (b"RIFF\xff\xff\xff\xffWEBP", MAX_WHOLE + 1, "the WebP has 1073741825 bytes"),
        (b"RIFF\xff\xff\xff\xffWEBP", MAX_WHOLE, None),
        (b"II*\0" + struct.pack("<LHHHLL", 8, 1, 700, 1, MAX_BESIDES + 1, 8), 2**40, "bytes beside its pixels"),
        (b"BM" + bytes(12) + b"\xff\xff\xff\x7f", 2**40, "header of 2147483647 bytes"),
        (b"\x93NUMPY\2\0" + struct.pack("<I", MAX_HEADER + 1), 2**40, "longer than any"),
        (b"\x93NUMPY\2\0" + struct.pack("<I", MAX_HEADER), 2**40, None),
        (b"\x93NUMPY\1\0\xff\xff\xff\xff", 2**40, None),
    ],
    ids=["text", "pixels", "webp", "webp that fits", "tiff", "bitmap", "array", "array that fits", "first version"],
)
def test_what_would_be_kept_in_memory_is_bounded(tmp_path: Path, head: bytes, size: int, reason: str | None) -> None:
    with stored(sparse(tmp_path, head, size)) as data:
        if reason is None:
            check_file(data, MOST)
            return
        with pytest.raises(ImageError, match=reason):
            check_file(data, MOST)


def test_segments_in_front_of_a_picture_are_bounded_together(tmp_path: Path) -> None:
    path = tmp_path / "long.jpg"
    with path.open("wb") as file:
        file.write(b"\xff\xd8")
        for number in range(MAX_BESIDES // 65536 + 2):
            file.seek(2 + number * 65537)
            file.write(b"\xff\xe0\xff\xff")
    with stored(path) as data, pytest.raises(ImageError, match="bytes beside its pixels") as caught:
        check_file(data, MOST)
    assert caught.value.code == "too_large"


def test_chunks_of_pixels_may_be_many_and_long() -> None:
    rows = zlib.compress(np.zeros((40, 1 + 3 * 56), np.uint8).tobytes())
    chunk = struct.pack(">I4s", len(rows), b"IDAT") + rows + struct.pack(">I", zlib.crc32(b"IDAT" + rows))
    check_file(PNG_HEAD + chunk * 1000, MOST)
