"""Bounds the bitmaps that Pillow unpacks in Python, run by run: millions of runs hold the lock of all threads."""

from detco_core.contract.errors import ImageError
from detco_core.pixels.stored import Stored

MAX_PACKED = 2**22
"""Pixels, and bytes, of a bitmap that is stored as runs: a second's work."""
_MAX_HEADER = 124
"""Bytes of the longest there is."""
_RUNS = (1, 2)
"""Kinds of compression: of 8 and of 4 bits a pixel."""


def check_bitmap(data: Stored) -> None:
    """Refuse a BMP of runs that are too many, and one whose header says it has more bytes than any has.

    Raises:
        ImageError: `too_large` or `unreadable`.
    """
    header = data[14:34]
    size, width, height, kind = (int.from_bytes(header[at : at + 4], "little") for at in (0, 4, 8, 16))
    if size > _MAX_HEADER:
        raise ImageError("unreadable", f"the bitmap has a header of {size} bytes; none has more than {_MAX_HEADER}")
    # The height is negative where rows go from top to bottom.
    pixels = width * min(height, 2**32 - height)
    if size > 12 and kind in _RUNS and max(pixels, len(data)) > MAX_PACKED:
        raise ImageError(
            "too_large", f"a bitmap stored as runs may have {MAX_PACKED} pixels, and bytes: save it as PNG instead"
        )
