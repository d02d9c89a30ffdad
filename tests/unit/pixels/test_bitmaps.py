"""Bitmaps of runs, which Pillow unpacks in Python, are bounded; all others are not touched."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from detco_core.contract.errors import ImageError
from detco_core.pixels.bitmaps import MAX_PACKED, check_bitmap


def bitmap(width: int, height: int, runs: bytes, kind: int = 1) -> bytes:
    """Of 8 bits a pixel and one grey."""
    header = struct.pack("<IiiHHIIIIII", 40, width, height, 1, 8, kind, len(runs), 0, 0, 1, 0)
    return b"BM" + struct.pack("<IHHI", 0, 0, 0, 14 + 40 + 4) + header + bytes(4) + runs


@pytest.mark.parametrize("height", [MAX_PACKED // 64, -MAX_PACKED // 64])
def test_runs_are_bounded_by_pixels(height: int) -> None:
    check_bitmap(bitmap(64, height, b""))
    check_bitmap(bitmap(65, height, b"", kind=0))
    with pytest.raises(ImageError, match="save it as PNG") as caught:
        check_bitmap(bitmap(65, height, b""))
    assert caught.value.code == "too_large"


def test_runs_are_bounded_by_bytes() -> None:
    with pytest.raises(ImageError, match="save it as PNG"):
        check_bitmap(bitmap(8, 8, bytes(MAX_PACKED)))


def test_no_header_is_longer_than_the_longest() -> None:
    """Pillow reads as many bytes as it says."""
    with pytest.raises(ImageError, match="header of 4000000000 bytes") as caught:
        check_bitmap(b"BM" + bytes(12) + struct.pack("<I", 4 * 10**9))
    assert caught.value.code == "unreadable"


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA"])
def test_what_pillow_writes_is_taken(mode: str) -> None:
    file = io.BytesIO()
    Image.fromarray(np.zeros((9, 7, 3), np.uint8)).convert(mode).save(file, "BMP")
    check_bitmap(file.getvalue())
    check_bitmap(file.getvalue()[:20])
