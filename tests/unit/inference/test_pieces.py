"""The pieces of a file are counted as Pillow meets them, and no file keeps it busy with empty ones."""

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from detco_core.contract.errors import ImageError
from detco_core.inference.images import decode, stored_pixels
from detco_core.inference.pieces import MAX_PIECES, has_too_many, jpeg_pieces, png_pieces

COMMENT = b"\xff\xfe\0\2"
CHUNK = struct.pack(">I4sI", 0, b"noNe", zlib.crc32(b"noNe"))


def file(format: str, **options: object) -> bytes:
    kept = io.BytesIO()
    Image.fromarray(np.full((40, 56, 3), 99, np.uint8)).save(kept, format, **options)
    return kept.getvalue()


JPEG, PNG = file("JPEG"), file("PNG")


def commented(times: int) -> bytes:
    """The JPEG with so many empty segments."""
    return JPEG[:2] + COMMENT * times + JPEG[2:]


def chunked(times: int) -> bytes:
    """The PNG with so many empty chunks behind its header."""
    return PNG[:33] + CHUNK * times + PNG[33:]


# SOI, JFIF, two tables, the frame, four codes, the scan; IHDR, IDAT, IEND.
PLAIN_JPEG, PLAIN_PNG = 10, 3


@pytest.mark.parametrize(
    ("count", "data", "expected"),
    [
        (jpeg_pieces, JPEG, PLAIN_JPEG),
        (jpeg_pieces, file("JPEG", progressive=True, icc_profile=bytes(200_000)), PLAIN_JPEG - 2 + 4),
        (jpeg_pieces, commented(100), PLAIN_JPEG + 100),
        (jpeg_pieces, JPEG[:2] + b"\xff" * 50 + JPEG[2:], PLAIN_JPEG + 50),
        (jpeg_pieces, JPEG[:2] + bytes(50) + JPEG[2:], PLAIN_JPEG + 50),
        (jpeg_pieces, JPEG + COMMENT * 100, PLAIN_JPEG),
        (jpeg_pieces, commented(10 * MAX_PIECES), MAX_PIECES + 1),
        (jpeg_pieces, JPEG[:2] + b"\xff" * 10**6, MAX_PIECES + 1),
        (jpeg_pieces, b"\xff\xd8\xff", 1),
        (png_pieces, PNG, PLAIN_PNG),
        (png_pieces, chunked(100), PLAIN_PNG + 100),
        (png_pieces, chunked(10 * MAX_PIECES), MAX_PIECES + 1),
        (png_pieces, PNG[:8], 0),
        (png_pieces, PNG[:10] + b"\xff" * 100, 1),
    ],
)
def test_pieces_are_counted(count: Callable[[bytes], int], data: bytes, expected: int) -> None:
    assert count(data) == expected


@pytest.mark.parametrize("made", [commented, chunked])
def test_a_file_of_more_pieces_than_any_encoder_writes_is_refused(made: Callable[[int], bytes]) -> None:
    fits = made(MAX_PIECES - max(PLAIN_JPEG, PLAIN_PNG))
    assert decode(fits).size == (56, 40)
    assert stored_pixels(fits) == 40 * 56
    with pytest.raises(ImageError, match="pieces") as raised:
        decode(made(MAX_PIECES))
    assert raised.value.code == "unreadable"
    assert stored_pixels(made(MAX_PIECES)) == 0


def test_small_files_are_not_gone_through() -> None:
    def never(_: bytes) -> int:
        raise AssertionError

    assert not has_too_many(bytes(MAX_PIECES), never)
