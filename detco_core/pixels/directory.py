"""What the first directory of a TIFF says, looked at before any reader is: they trust it with memory and time."""

import struct
from collections.abc import Iterator
from typing import Literal, NamedTuple

from detco_core.contract.errors import ImageError
from detco_core.pixels.stored import Stored

MAX_VALUES = 2**18
"""Numbers that one entry may hold; strips and tiles are listed there, and each costs time."""

_NUMBERS = (3, 4, 5, 6, 8, 9, 10, 11, 12, 13, 16, 17, 18)
"""Types of entries that become Python's numbers; others are bytes or text."""
_BYTES = {3: 2, 4: 4, 5: 8, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
"""Of a value, by type; 1 of any other."""
_WHOLE = {3: 2, 4: 4, 16: 8}
"""Bytes of a number of the types that sizes have."""
_SINGLE = (256, 257, 259, 262, 266, 277, 278, 284, 317, 322, 323, 32997, 32998)
"""Entries of one number: sizes of the image, of its strips and tiles, and how they are stored."""
_TILE = (322, 323)
"""Width and length of a tile."""


class _Entry(NamedTuple):
    tag: int
    kind: int
    values: int
    value: bytes
    """Or where it lies."""


def check_directory(data: Stored, most_pixels: int, most_bytes: int) -> None:
    """Refuse a TIFF whose first directory asks for more than any picture needs; other damage is for its reader to find.

    Args:
        data: the file.
        most_pixels: of a tile, which is unpacked whole, however small the picture is.
        most_bytes: of all entries together, which a reader keeps.

    Raises:
        ImageError: `too_large`; `unreadable` where a size is several numbers, which readers would multiply.
    """
    order: Literal["little", "big"] = "little" if data[:2] == b"II" else "big"
    sides, kept = dict.fromkeys(_TILE, 1), 0
    for entry in _entries(data, "<" if order == "little" else ">"):
        _check_count(entry)
        kept += entry.values * _BYTES.get(entry.kind, 1)
        if entry.tag in _TILE:
            sides[entry.tag] = max(sides[entry.tag], _number(entry, order))
    if kept > most_bytes:
        raise ImageError("too_large", f"the TIFF has {kept} bytes beside its pixels; at most {most_bytes} are taken")
    width, length = sides.values()
    if width * length > most_pixels:
        raise ImageError("too_large", f"the TIFF has tiles of {width}x{length} pixels; at most {most_pixels} are taken")


def _check_count(entry: _Entry) -> None:
    tag, count = entry.tag, entry.values
    if tag in _SINGLE and count != 1:
        raise ImageError("unreadable", f"entry {tag} of the TIFF must be one number and is {count}")
    if entry.kind in _NUMBERS and count > MAX_VALUES:
        raise ImageError("too_large", f"entry {tag} of the TIFF lists {count} values; at most {MAX_VALUES} are taken")


def _number(entry: _Entry, order: Literal["little", "big"]) -> int:
    size = _WHOLE.get(entry.kind)
    if size is None:
        raise ImageError("unreadable", f"entry {entry.tag} of the TIFF must be a whole number")
    return int.from_bytes(entry.value[:size], order)


def _entries(data: Stored, order: str) -> Iterator[_Entry]:
    """Every entry; as many as there are where the file is too short for them."""
    try:
        if struct.unpack(f"{order}H", data[2:4])[0] == 43:
            (at,) = struct.unpack(f"{order}Q", data[8:16])
            (count,) = struct.unpack(f"{order}Q", data[at : at + 8])
            at, form = at + 8, struct.Struct(f"{order}HHQ8s")
        else:
            (at,) = struct.unpack(f"{order}L", data[4:8])
            (count,) = struct.unpack(f"{order}H", data[at : at + 2])
            at, form = at + 2, struct.Struct(f"{order}HHL4s")
        for number in range(min(count, MAX_VALUES)):
            start = at + form.size * number
            yield _Entry._make(form.unpack(data[start : start + form.size]))
    except struct.error:
        return
