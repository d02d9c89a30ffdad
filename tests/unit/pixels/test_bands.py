"""TIFFs of many bands: what unpacks to more than it says is refused before it costs memory or time."""

import lzma
import struct
import sys
import tracemalloc
import zlib
from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tifffile import imwrite

from detco_core.contract.errors import ImageError
from detco_core.pixels.bands import read_bands, size_of

BANDS = np.random.default_rng(0).integers(0, 65_536, (30, 20, 5), np.uint16)
MANY = 10**9
DEFLATE, LZMA, PACKBITS = 8, 34925, 32773


def tiff(pixels: NDArray[Any] = BANDS, **options: Any) -> bytes:
    file = BytesIO()
    imwrite(file, pixels, photometric="minisblack", planarconfig="contig", **options)
    return file.getvalue()


def by_hand(packed: bytes, compression: int, **entries: int) -> bytes:
    """One strip of 8 bits, 5 bands and 20 x 30 pixels, packed by whoever wrote it; `entries` say otherwise."""
    said = {"t256": 20, "t257": 30, "t259": compression, "t262": 1, "t277": 5, "t278": 30, "t279": len(packed)}
    said = said | {"t258": 8, "t273": 0} | entries
    at = 8 + 2 + 12 * len(said) + 4
    said["t273"] = at
    listed = b"".join(struct.pack("<HHII", int(tag[1:]), 4, 1, said[tag]) for tag in sorted(said))
    return b"II*\0" + struct.pack("<IH", 8, len(said)) + listed + bytes(4) + packed


def code_of(file: bytes, most_pixels: int = MANY, most_bytes: int = MANY) -> str:
    with pytest.raises(ImageError) as caught:
        read_bands(BytesIO(file), most_pixels, most_bytes)
    assert str(caught.value)
    return caught.value.code


@pytest.mark.parametrize("packing", [None, "zlib", "lzma"])
@pytest.mark.parametrize("tile", [None, (16, 16)])
def test_every_band_and_bit_comes_back(packing: str | None, tile: tuple[int, int] | None) -> None:
    file = tiff(compression=packing, tile=tile)
    found = read_bands(BytesIO(file), 600, BANDS.nbytes if tile is None else 2 * BANDS.nbytes)
    assert np.array_equal(found.pixels, BANDS)
    assert (found.orientation, found.more_pages) == (1, False)
    assert size_of(BytesIO(file)) == (20, 30)


def test_more_pages_are_told() -> None:
    assert read_bands(BytesIO(tiff(np.stack([BANDS, BANDS]))), MANY, MANY).more_pages


def test_size_is_judged_by_the_header() -> None:
    assert code_of(tiff(), most_pixels=599) == "too_large"
    assert code_of(tiff(), most_bytes=BANDS.nbytes - 1) == "too_large"
    assert code_of(by_hand(b"", 1, t256=10**6, t257=10**6)) == "too_large"
    assert code_of(tiff(np.zeros((3, 3, 65), np.uint8))) == "unsupported"
    assert code_of(tiff(np.zeros((3, 3, 5), np.float32))) == "unsupported"


@pytest.mark.parametrize(("compression", "pack"), [(DEFLATE, zlib.compress), (LZMA, lzma.compress)])
def test_a_bomb_in_a_strip_is_not_unpacked(compression: int, pack: Callable[[bytes], bytes]) -> None:
    file = by_hand(pack(bytes(2**26)), compression)
    tracemalloc.start()
    assert code_of(file) == "too_large"
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**25


def test_packbits_is_taken_only_where_it_cannot_be_a_bomb() -> None:
    row = b"".join(bytes([257 - 100, n]) for n in range(30))
    assert read_bands(BytesIO(by_hand(row, PACKBITS)), MANY, 64 * len(row)).pixels[29].tolist() == [[29] * 5] * 20
    assert code_of(by_hand(row, PACKBITS), most_bytes=64 * len(row) - 1) == "too_large"


@pytest.mark.parametrize("compression", [1, DEFLATE, LZMA, PACKBITS, 7, 60_000])
def test_damage_is_unreadable(compression: int) -> None:
    assert code_of(by_hand(b"\1\2\3", compression)) in ("unreadable", "unsupported")
    assert code_of(b"II*\0\x08\0\0\0") == "unreadable"


def test_a_size_of_many_numbers_is_not_multiplied_where_the_directory_was_not_checked() -> None:
    """Python multiplies a tuple by repeating it."""
    whole = tiff(tile=(16, 16))
    at = whole.index(struct.pack("<HHI", 323, 4, 1))
    several = whole[:at] + struct.pack("<HHII", 323, 4, 9, 8) + whole[at + 12 :]
    assert code_of(several) == "unreadable"


def test_without_tifffile_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tifffile", None)
    with pytest.raises(ImageError, match=r"pip install 'detco\[multichannel\]'") as caught:
        read_bands(BytesIO(tiff()), MANY, MANY)
    assert caught.value.code == "unsupported"
