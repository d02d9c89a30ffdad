"""The scans of a JPEG are counted as a decoder meets them, and no file has it work for hours."""

import io

import numpy as np
import pytest
from PIL import Image

from detco_core.contract.errors import ImageError
from detco_core.inference.pictures.images import decode, stored_pixels
from detco_core.pixels.pieces import MAX_PIECES
from detco_core.pixels.scans import MAX_SCANS, scans
from detco_core.pixels.stored import OnDisk


def jpeg(**options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 56, 3), np.uint8)).save(file, "JPEG", **options)
    return file.getvalue()


def repeated(data: bytes, times: int) -> bytes:
    """Its last scan so many times more."""
    last, end = data.rindex(b"\xff\xda"), data.rindex(b"\xff\xd9")
    return data[:end] + data[last:end] * times + data[end:]


PROGRESSIVE = jpeg(progressive=True)
COMMENT = b"\xff\xfe\0\2"
LOOKALIKES = b"\xff\xda" * 5000
"""As metadata may hold by chance, or by a thumbnail."""


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (jpeg(), 1),
        (PROGRESSIVE, 10),
        (jpeg(comment=LOOKALIKES), 1),
        (jpeg(progressive=True, comment=LOOKALIKES, restart_marker_rows=1), 10),
        (PROGRESSIVE + LOOKALIKES, 10),
        (repeated(PROGRESSIVE, MAX_SCANS - 10), MAX_SCANS),
        (repeated(PROGRESSIVE, MAX_SCANS - 9), MAX_SCANS + 1),
        (repeated(PROGRESSIVE, 5000), MAX_SCANS + 1),
        (PROGRESSIVE[:2] + b"\xff" * 10**6 + repeated(PROGRESSIVE, 200)[2:], MAX_SCANS + 1),
        (PROGRESSIVE[:-2] + b"\xff" * 10**6 + b"\0" + LOOKALIKES, 11),
        (b"\xff\xd8\xff", 0),
        (b"\xff\xd8" + b"\xff\xda\0\2" * 5000, MAX_SCANS + 1),
        (b"\xff\xd8\xff\xe1\xff\xff" + LOOKALIKES, 0),
        (PROGRESSIVE[:-2] + COMMENT * (MAX_PIECES - 100) + LOOKALIKES, 11),
        (PROGRESSIVE[:-2] + COMMENT * MAX_PIECES + LOOKALIKES, MAX_SCANS + 1),
    ],
    ids=[
        "one",
        "progressive",
        "comment",
        "restarts",
        "behind",
        "most",
        "more",
        "far more",
        "filled",
        "filled in a scan",
        "head",
        "nothing else",
        "cut",
        "markers",
        "more markers than are gone through",
    ],
)
def test_scans_are_counted_where_they_are(data: bytes, expected: int) -> None:
    assert scans(data) == expected
    assert scans(OnDisk(io.BytesIO(data))) == expected


def test_no_more_are_decoded_than_any_encoder_writes() -> None:
    assert decode(repeated(PROGRESSIVE, MAX_SCANS - 10)).size == (56, 40)
    with pytest.raises(ImageError, match="scans") as raised:
        decode(repeated(PROGRESSIVE, MAX_SCANS))
    assert raised.value.code == "unreadable"
    assert stored_pixels(repeated(PROGRESSIVE, MAX_SCANS)) == 0
