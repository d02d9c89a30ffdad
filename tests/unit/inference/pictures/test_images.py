"""Every kind of file a client may send: decoded as it says, or refused by a clear word before it costs anything."""

import io
import struct
import tracemalloc
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tifffile import imwrite

from detco_core.contract.errors import ImageError
from detco_core.inference.pictures.images import Limits, decode, stored_pixels
from tests.pngs import noise, write_png

Photo = Callable[..., Image.Image]
Encoded = Callable[..., bytes]


def png(width: int, height: int, depth: int, color: int, rows: bytes) -> bytes:
    """A PNG file by hand, since Pillow writes no 16-bit colour."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def refusal(data: bytes, limits: Limits | None = None) -> str:
    with pytest.raises(ImageError) as caught:
        decode(data, limits)
    assert str(caught.value)
    return caught.value.code


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_lossless_formats_come_back_exactly(photo: Photo, encoded: Encoded, format: str) -> None:
    decoded = decode(encoded(photo(), format))
    np.testing.assert_array_equal(np.asarray(decoded.picture), np.asarray(photo()))
    assert (decoded.format, decoded.stored, decoded.size) == (format, (97, 61), (97, 61))
    assert (decoded.orientation, decoded.bits, decoded.animated) == (1, 8, False)


@pytest.mark.parametrize("format", ["JPEG", "WEBP"])
def test_lossy_formats_come_back_nearly(photo: Photo, encoded: Encoded, format: str) -> None:
    picture = np.asarray(decode(encoded(photo(), format, quality=95)).picture, int)
    assert np.abs(picture - np.asarray(photo(), int)).mean() < 8


@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("part", [0.2, 0.6, 0.98])
def test_truncated_files_are_unreadable(photo: Photo, encoded: Encoded, format: str, part: float) -> None:
    options = {"compression": "tiff_lzw"} if format == "TIFF" else {}
    data = encoded(photo(), format, **options)
    assert refusal(data[: int(len(data) * part)]) == "unreadable"


def test_an_empty_file_is_unreadable() -> None:
    assert refusal(b"") == "unreadable"


@pytest.mark.parametrize(
    "data", [b"hello, I am text", b"GIF89a" + bytes(50), b"%PDF-1.7", b"<svg/>", b"BM" + bytes(100), bytes(1000)]
)
def test_what_is_no_image_we_read_is_unsupported(data: bytes) -> None:
    assert refusal(data) == "unsupported"


@pytest.mark.parametrize("magic", [b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\x10\0\0\0WEBP", b"II*\0", b"MM\0+"])
def test_a_signature_with_nothing_behind_it_is_unreadable(magic: bytes) -> None:
    assert refusal(magic) == "unreadable"
    assert refusal(magic + bytes(200)) == "unreadable"
    assert refusal(magic + b"\xff" * 200) == "unreadable"


def test_bytes_over_the_limit_are_refused_unread(photo: Photo, encoded: Encoded) -> None:
    data = encoded(photo())
    assert refusal(data, Limits(bytes=len(data) - 1)) == "too_large"
    assert refusal(bytes(100), Limits(bytes=10)) == "too_large"


def test_a_decompression_bomb_is_refused_without_being_decoded() -> None:
    side = 20_000
    bomb = png(side, side, 8, 2, bytes(10))
    tracemalloc.start()
    assert refusal(bomb, Limits(pixels=1_000_000)) == "too_large"
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**20


def test_a_webp_that_claims_a_huge_canvas_is_refused() -> None:
    canvas = (16383).to_bytes(3, "little") * 2
    body = b"VP8X" + struct.pack("<I", 10) + bytes(4) + canvas
    data = b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body
    assert refusal(data) in ("too_large", "unreadable")


def test_pixels_at_the_limit_are_taken_also_far_above_pillows_own(photo: Photo, encoded: Encoded) -> None:
    assert decode(encoded(photo()), Limits(pixels=97 * 61)).size == (97, 61)
    # Pillow's own guard would refuse or warn here; the limit that counts is ours.
    large = encoded(Image.new("L", (10_000, 9_000)), compress_level=1)
    assert decode(large, Limits(bytes=2**30, pixels=2 * 10**8)).size == (10_000, 9_000)


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 1)])
def test_extreme_shapes_are_images_too(encoded: Encoded, size: tuple[int, int]) -> None:
    assert decode(encoded(Image.new("RGB", size))).size == size


def test_sixteen_bits_are_noticed_also_where_pillow_hides_them(encoded: Encoded) -> None:
    grey = Image.fromarray(np.arange(12, dtype=np.uint16).reshape(3, 4) * 5000)
    assert decode(encoded(grey)).bits == 16
    assert decode(encoded(grey, "TIFF")).bits == 16
    assert decode(encoded(grey, "TIFF", compression="tiff_lzw")).bits == 16
    assert decode(png(4, 3, 16, 2, b"".join(b"\0" + bytes(24) for _ in range(3)))).bits == 16
    assert decode(png(4, 3, 16, 6, b"".join(b"\0" + bytes(32) for _ in range(3)))).bits == 16
    assert decode(encoded(Image.new("F", (4, 3)), "TIFF")).bits == 32
    assert decode(encoded(Image.new("1", (4, 3)))).bits == 8


@pytest.mark.parametrize("format", ["PNG", "WEBP", "TIFF"])
def test_of_several_frames_the_first_is_taken_and_said(photo: Photo, encoded: Encoded, format: str) -> None:
    options = {"lossless": True} if format == "WEBP" else {}
    data = encoded(photo(seed=1), format, save_all=True, append_images=[photo(seed=2)], **options)
    decoded = decode(data)
    assert decoded.animated
    assert isinstance(decoded.picture, Image.Image)
    np.testing.assert_array_equal(np.asarray(decoded.picture.convert("RGB")), np.asarray(photo(seed=1)))


@settings(max_examples=150, deadline=None)
@given(data=st.data())
@pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # Pillow 13 warns of damaged tags
def test_flipped_bytes_never_raise_anything_but_image_error(
    photo: Photo, encoded: Encoded, data: st.DataObject
) -> None:
    format = data.draw(st.sampled_from(["JPEG", "PNG", "TIFF", "WEBP"]))
    file = bytearray(encoded(photo(23, 17), format))
    for _ in range(data.draw(st.integers(1, 6))):
        file[data.draw(st.integers(0, len(file) - 1))] = data.draw(st.integers(0, 255))
    try:
        decoded = decode(bytes(file), Limits(pixels=10**6))
    except ImageError:
        return
    assert decoded.size.width * decoded.size.height <= 10**6


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_the_header_tells_how_many_pixels_are_stored(format: str) -> None:
    file = io.BytesIO()
    Image.new("RGB", (7, 5)).save(file, format)
    assert stored_pixels(file.getvalue()) == 35
    assert stored_pixels(file.getvalue()[:4]) == 0


def test_the_header_of_an_array_does_too_and_of_anything_else_nothing_is_told() -> None:
    file = io.BytesIO()
    np.save(file, np.zeros((4, 6, 3), np.uint8))
    assert stored_pixels(file.getvalue()) == 24
    assert [stored_pixels(data) for data in (b"", b"text", file.getvalue()[:9])] == [0, 0, 0]


def test_deep_pictures_are_bounded_by_their_header_too() -> None:
    for color in (0, 2, 4, 6):
        lie = png(20_000, 20_000, 16, color, bytes(10))
        tracemalloc.start()
        assert refusal(lie, Limits(pixels=1_000_000)) == "too_large"
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 2**20
        assert stored_pixels(lie) == 4 * 10**8


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
def test_a_deep_picture_that_is_cut_off_is_unreadable(part: float) -> None:
    whole = write_png(noise(3, 120, 90))
    assert refusal(whole[: int(len(whole) * part)]) == "unreadable"


def test_what_is_behind_the_last_row_of_a_deep_picture_is_not_unpacked() -> None:
    rows = b"".join(b"\0" + bytes(24) for _ in range(3))
    bomb = png(4, 3, 16, 2, rows + bytes(2**24))
    tracemalloc.start()
    assert decode(bomb).size == (4, 3)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**22


def test_a_wrong_sum_of_the_pixels_is_unreadable() -> None:
    whole = bytearray(write_png(noise(3)))
    at = whole.index(b"IDAT")
    (length,) = struct.unpack_from(">I", whole, at - 4)
    whole[at + 3 + length] ^= 1
    assert refusal(bytes(whole)) == "unreadable"


def test_a_tiff_that_lists_millions_of_strips_is_refused_at_once(encoded: Encoded) -> None:
    file = bytearray(encoded(Image.new("RGB", (64, 64)), "TIFF"))
    (at,) = struct.unpack_from("<I", file, 4)
    entries = [at + 2 + 12 * n for n in range(struct.unpack_from("<H", file, at)[0])]
    strips = next(entry for entry in entries if struct.unpack_from("<H", file, entry)[0] == 273)
    struct.pack_into("<HII", file, strips + 2, 4, 2_000_000, len(file))
    file += bytes(8_000_000)
    assert refusal(bytes(file)) == "too_large"
    assert stored_pixels(bytes(file)) == 0


@pytest.mark.filterwarnings("error")
def test_a_bigtiff_of_big_endian_numbers_is_not_pillows_to_read() -> None:
    """It takes the directory to be elsewhere, where another may be."""
    file, pixels = io.BytesIO(), noise(3)
    imwrite(file, pixels, photometric="rgb", bigtiff=True, byteorder=">")
    decoded = decode(file.getvalue())
    assert isinstance(decoded.picture, tuple)
    np.testing.assert_array_equal(np.stack([np.asarray(plane) for plane in decoded.picture], axis=2), pixels)
    assert stored_pixels(file.getvalue()) == 23 * 17
    classic = struct.pack(">HHHLLHHLL", 2, 256, 4, 1, 16, 257, 4, 1, 16) + struct.pack(">HHLL", 273, 4, 2_000_000, 8)
    there = struct.pack(">HHQQHHQQ", 8, 0, 16, 1, 256, 4, 1, 16 << 32)
    hostile = (b"MM\0+" + there).ljust(0x80000, b"\0") + classic + bytes(8_000_000)
    assert refusal(hostile) == "unsupported"
    assert stored_pixels(hostile) == 0


def test_bands_that_pillow_has_no_picture_for_are_planes() -> None:
    file = io.BytesIO()
    bands = noise(5)
    imwrite(file, bands, photometric="minisblack", planarconfig="contig")
    decoded = decode(file.getvalue())
    assert isinstance(decoded.picture, tuple)
    np.testing.assert_array_equal(np.stack([np.asarray(plane) for plane in decoded.picture], axis=2), bands)
    assert (decoded.format, decoded.size, decoded.bits, decoded.mode) == ("TIFF", (23, 17), 16, "5 channels")
    assert stored_pixels(file.getvalue()) == 23 * 17
    assert refusal(file.getvalue(), Limits(pixels=23 * 17 - 1)) == "too_large"


@settings(max_examples=80, deadline=None)
@given(data=st.data())
@pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # Pillow 13 warns of damaged tags
def test_flipped_bytes_of_deep_files_never_raise_anything_but_image_error(data: st.DataObject) -> None:
    file = bytearray(data.draw(st.sampled_from(_DEEP)))
    for _ in range(data.draw(st.integers(1, 6))):
        file[data.draw(st.integers(0, len(file) - 1))] = data.draw(st.integers(0, 255))
    try:
        decoded = decode(bytes(file), Limits(pixels=10**6))
    except ImageError:
        return
    assert decoded.size.width * decoded.size.height <= 10**6


def _tiff(bands: int, photometric: str, packing: str | None) -> bytes:
    file = io.BytesIO()
    imwrite(file, noise(bands), photometric=photometric, planarconfig="contig", compression=packing)
    return file.getvalue()


_DEEP = [
    write_png(noise(3)),
    write_png(noise(4), interlaced=True),
    *(_tiff(3, "rgb", packing) for packing in (None, "zlib")),
    *(_tiff(5, "minisblack", packing) for packing in (None, "zlib")),
]


def test_bitmaps_are_for_data_sets(photo: Photo, encoded: Encoded) -> None:
    file = encoded(photo(), "BMP")
    assert refusal(file) == "unsupported"
    np.testing.assert_array_equal(np.asarray(decode(file, bitmaps=True).picture), np.asarray(photo()))
