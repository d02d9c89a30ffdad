"""Counts the scans of a JPEG before it is decoded.

A progressive JPEG goes over the whole picture once a scan, also where a scan says nothing: some fifty bytes cost 40 ms
of a picture of 50 million pixels, and a file of a megabyte minutes to hours, in which no thread can be called back.
Neither libjpeg nor Pillow bounds them. No encoder writes more than some twenty.
"""

import re

from detco_core.pixels.pieces import MAX_PIECES
from detco_core.pixels.stored import Stored

MAX_SCANS = 100
"""As libtiff bounds those of the JPEGs inside it."""

_MARKER = re.compile(rb"\xff([\x01-\xcf\xd8-\xfe])")
"""Any that ends a scan's data: not a stuffed byte (`ff 00`), not a restart (`ff d0` to `ff d7`), not the filling before
one (`ff ff`), of which there may be millions: one is enough to know it by.
"""
_ALONE = (0x01, 0xD8)
"""Markers without a length."""
_END, _SCAN = 0xD9, 0xDA
_LOOKED_AT = 2**16
"""Bytes at once: markers may be far apart."""


def scans(data: Stored) -> int:
    """Of a JPEG file, as its markers say; counts no further than one over `MAX_SCANS`, nor behind its end.

    More than `MAX_PIECES` markers count as too many scans: they would be gone through one by one.
    """
    # Nearly every file has fewer even with what its metadata holds: thumbnails, and whatever happens to look like one.
    if (quick := data.count(b"\xff\xda")) <= MAX_SCANS:
        return quick
    found, at = 0, 0
    for _ in range(MAX_PIECES):
        kind, at = _next_marker(data, at)
        if kind == _END or found > MAX_SCANS:
            return found
        if kind not in _ALONE:
            at += int.from_bytes(data[at : at + 2])
        found += kind == _SCAN
    return MAX_SCANS + 1


def _next_marker(data: Stored, at: int) -> tuple[int, int]:
    """The first one from `at` on, and where it ends; the end of the file is one too."""
    while at < len(data):
        if (marker := _MARKER.search(data[at : at + _LOOKED_AT])) is not None:
            return marker[1][0], at + marker.end()
        at += _LOOKED_AT - 1
    return _END, at
