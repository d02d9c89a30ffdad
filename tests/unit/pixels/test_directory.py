"""The directory of a TIFF: what would cost a reader memory or time is refused before one sees it."""

import struct

import pytest

from detco_core.contract.errors import ImageError
from detco_core.pixels.directory import MAX_VALUES, check_directory

MANY = 10**9


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("big", [False, True])
def test_a_directory_of_millions_is_refused_unread(order: str, big: bool) -> None:
    mark = b"II" if order == "<" else b"MM"
    for count, refused in ((MAX_VALUES, False), (MAX_VALUES + 1, True), (2**32 - 1, True)):
        if big:
            file = mark + struct.pack(f"{order}HHHQQHHQQ", 43, 8, 0, 16, 1, 273, 4, count, 0)
        else:
            file = mark + struct.pack(f"{order}HLHHHLL", 42, 8, 1, 273, 4, count, 0)
        if not refused:
            check_directory(file, MANY, MANY)
            continue
        with pytest.raises(ImageError, match=f"entry 273 of the TIFF lists {count} values") as caught:
            check_directory(file, MANY, MANY)
        assert caught.value.code == "too_large"


@pytest.mark.parametrize("tag", [256, 257, 277, 278, 322, 323])
def test_a_size_of_many_numbers_is_unreadable(tag: int) -> None:
    """Python multiplies a tuple by repeating it, and tifffile makes one of such an entry."""
    for count in (0, 2, 40_000):
        file = b"II" + struct.pack("<HLHHHLL", 42, 8, 1, tag, 4, count, 0)
        with pytest.raises(ImageError, match=f"entry {tag} of the TIFF must be one number and is {count}") as caught:
            check_directory(file, MANY, MANY)
        assert caught.value.code == "unreadable"


def test_text_may_be_long_and_a_directory_short() -> None:
    check_directory(b"II" + struct.pack("<HLHHHLL", 42, 8, 1, 270, 2, 10**6, 0), MANY, MANY)
    for file in (b"", b"II*\0", b"II*\0\xff\xff\xff\xff", b"MM\0+" + b"\xff" * 200, b"II*\0\x08\0\0\0\xff\xff"):
        check_directory(file, MANY, MANY)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(("width", "length", "fits"), [(1000, 1000, True), (1000, 1001, False), (2**31, 1, False)])
def test_a_tile_is_a_picture_too(order: str, width: int, length: int, fits: bool) -> None:
    """Pillow makes room for one whole tile, of a picture of whatever size."""
    mark = b"II" if order == "<" else b"MM"
    short = struct.pack(f"{order}HHLHH", 323, 3, 1, length, 0)
    classic = mark + struct.pack(f"{order}HLHHHLL", 42, 8, 2, 322, 4, 1, width) + short
    big = mark + struct.pack(f"{order}HHHQQHHQQHHQQ", 43, 8, 0, 16, 2, 322, 4, 1, 0, 323, 16, 1, length)
    inline = big.replace(struct.pack(f"{order}HHQQ", 322, 4, 1, 0), struct.pack(f"{order}HHQLL", 322, 4, 1, width, 0))
    for file in (classic, inline):
        if fits:
            check_directory(file, 10**6, MANY)
            continue
        with pytest.raises(ImageError, match=f"tiles of {width}x{length} pixels; at most 1000000") as caught:
            check_directory(file, 10**6, MANY)
        assert caught.value.code == "too_large"


def test_of_two_sizes_of_a_tile_the_larger_counts_and_it_is_a_whole_number() -> None:
    twice = struct.pack("<HHII", 322, 4, 1, 2000) + struct.pack("<HHII", 322, 4, 1, 16)
    with pytest.raises(ImageError, match="2000x600"):
        check_directory(b"II*\0" + struct.pack("<IH", 8, 3) + twice + struct.pack("<HHII", 323, 4, 1, 600), 10**6, MANY)
    with pytest.raises(ImageError, match="entry 322 of the TIFF must be a whole number"):
        check_directory(b"II*\0" + struct.pack("<IHHHII", 8, 1, 322, 11, 1, 0x4F000000), 10**6, MANY)


@pytest.mark.parametrize(("kind", "size"), [(1, 1), (2, 1), (3, 2), (5, 8), (7, 1), (12, 8)])
def test_what_entries_hold_together_is_bounded(kind: int, size: int) -> None:
    """Each is kept, and all may lie in the same place."""
    entries = b"".join(struct.pack("<HHLL", 40_000 + number, kind, 1000, 8) for number in range(20))
    file = b"II" + struct.pack("<HLH", 42, 8, 20) + entries
    check_directory(file, MANY, 20_000 * size)
    with pytest.raises(ImageError, match=f"{20_000 * size} bytes beside its pixels") as caught:
        check_directory(file, MANY, 20_000 * size - 1)
    assert caught.value.code == "too_large"
