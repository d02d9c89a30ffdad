"""The pieces of a file are counted as Pillow meets them, and no file keeps it busy with empty ones."""

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from detco_core.contract.errors import ImageError
from detco_core.inference.pictures.images import decode, stored_pixels
from detco_core.pixels.pieces import MAX_PIECES, Pieces, jpeg_pieces, png_pieces
from detco_core.pixels.stored import OnDisk, Stored

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
        (png_pieces, PNG + bytes(12 * 10 * MAX_PIECES), PLAIN_PNG),
        (png_pieces, PNG[:8], 0),
        (png_pieces, PNG[:10] + b"\xff" * 100, 1),
    ],
)
def test_pieces_are_counted(count: Callable[[Stored], Pieces], data: bytes, expected: int) -> None:
    assert count(data).number == expected
    assert count(OnDisk(io.BytesIO(data))) == count(data)


def test_what_holds_no_pixels_is_measured_as_far_as_it_is_there() -> None:
    plain, profile = png_pieces(PNG).besides, bytes(200_000)
    assert png_pieces(PNG[:33] + struct.pack(">I4s", 10**6, b"tEXt") + profile).besides == 25 + 8 + len(profile)
    assert plain == 25 + 12
    assert png_pieces(file("PNG", compress_level=0)).besides == plain
    longer = jpeg_pieces(file("JPEG", icc_profile=profile)).besides - jpeg_pieces(JPEG).besides
    assert len(profile) < longer < len(profile) + 100
    assert jpeg_pieces(JPEG[:2] + b"\xff\xe0\xff\xff").besides == 6


SEQUENTIAL, PROGRESSIVE, GRAY = (
    struct.pack(">BBHBHHB", 0xFF, kind, 8 + 3 * parts, 8, 40, 56, parts) + bytes(3 * parts)
    for kind, parts in ((0xC0, 3), (0xC2, 3), (0xC1, 1))
)
SCAN, OF_ONE = (struct.pack(">BBHB", 0xFF, 0xDA, 6 + 2 * parts, parts) + bytes(3 + 2 * parts) for parts in (3, 1))


@pytest.mark.parametrize(
    ("segments", "expected"),
    [
        ((SEQUENTIAL, SCAN), True),
        ((GRAY, OF_ONE), True),
        ((SEQUENTIAL, OF_ONE), False),
        ((PROGRESSIVE, SCAN), False),
        ((SEQUENTIAL, PROGRESSIVE, SCAN), False),
        ((SCAN,), False),
        ((SEQUENTIAL,), False),
        ((SEQUENTIAL, SCAN[:4]), False),
    ],
)
def test_one_scan_is_known_by_the_frame(segments: tuple[bytes, ...], expected: bool) -> None:
    assert jpeg_pieces(b"\xff\xd8" + b"".join(segments)).one_scan is expected


def test_of_a_sequential_file_no_second_scan_is_decoded() -> None:
    """So that they need not be counted."""
    assert jpeg_pieces(JPEG).one_scan
    assert not jpeg_pieces(file("JPEG", progressive=True)).one_scan
    scan, end = JPEG.rindex(b"\xff\xda"), JPEG.rindex(b"\xff\xd9")
    with pytest.raises(ImageError, match="broken data stream"):
        decode(JPEG[:end] + JPEG[scan:end] * 30_000 + JPEG[end:])


@pytest.mark.parametrize("made", [commented, chunked])
def test_a_file_of_more_pieces_than_any_encoder_writes_is_refused(made: Callable[[int], bytes]) -> None:
    fits = made(MAX_PIECES - max(PLAIN_JPEG, PLAIN_PNG))
    assert decode(fits).size == (56, 40)
    assert stored_pixels(fits) == 40 * 56
    with pytest.raises(ImageError, match="pieces") as raised:
        decode(made(MAX_PIECES))
    assert raised.value.code == "unreadable"
    assert stored_pixels(made(MAX_PIECES)) == 0
