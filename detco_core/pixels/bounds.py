"""Looks at an image file before any reader does: they trust what it says, and go on as long as it goes on.

Serving, training and the scan of a data set ask here, each with the pixels it takes.
"""

from detco_core.contract.errors import ImageError
from detco_core.pixels.bitmaps import check_bitmap
from detco_core.pixels.directory import check_directory
from detco_core.pixels.pieces import MAX_PIECES, Pieces, jpeg_pieces, png_pieces
from detco_core.pixels.scans import MAX_SCANS, scans
from detco_core.pixels.stored import Stored

JPEG, PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
NPY = b"\x93NUMPY"
MAX_HEADER = 2**16
"""Bytes of an array's; NumPy reads it whole, and then refuses more than 10,000."""
MISREAD = b"MM\0+"
"""BigTIFF of big-endian bytes: Pillow takes another place for its directory than the one that is looked at here."""
MAX_BESIDES = 2**28
"""Bytes of a file beside its pixels, profiles and texts, that a reader keeps in memory."""
MAX_WHOLE = 2**30
"""Bytes of a WebP, which is read whole."""


def check_file(data: Stored, most_pixels: int) -> None:
    """Refuse a file that asks a reader for more than any picture needs; other damage is for its reader to find.

    Costs some twenty looks at a few bytes, and for a JPEG of several scans one at all of it. Formats are known by their
    first bytes, as Pillow knows them.

    Raises:
        ImageError: `unreadable` or `too_large`, with what it asks for.
    """
    head = data[:12]
    if head.startswith(JPEG):
        found = jpeg_pieces(data)
        _check_pieces(found)
        if not found.one_scan and scans(data) > MAX_SCANS:
            raise ImageError("unreadable", f"the JPEG has more than {MAX_SCANS} scans, which no encoder writes")
    elif head.startswith(PNG):
        _check_pieces(png_pieces(data))
    elif head[:2] in (b"II", b"MM"):
        check_directory(data, most_pixels, MAX_BESIDES)
    elif head.startswith(b"BM"):
        check_bitmap(data)
    elif head.startswith(NPY) and head[6:7] >= b"\2" and int.from_bytes(head[8:12], "little") > MAX_HEADER:
        raise ImageError("unreadable", "the array has a header longer than any is")
    elif head[8:] == b"WEBP" and len(data) > MAX_WHOLE:
        raise ImageError("too_large", f"the WebP has {len(data)} bytes; at most {MAX_WHOLE} are taken")


def _check_pieces(found: Pieces) -> None:
    if found.number > MAX_PIECES:
        raise ImageError("unreadable", f"the file is in more than {MAX_PIECES} pieces, as no encoder writes it")
    if found.besides > MAX_BESIDES:
        raise ImageError("too_large", f"the file has {found.besides} bytes beside its pixels, more than {MAX_BESIDES}")
