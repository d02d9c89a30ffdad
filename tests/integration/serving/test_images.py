"""Pictures that are not what they seem, each through the whole server: features of what is shown, or a refusal."""

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from tests.integration.serving.conftest import Door, noise, png, saved


def picture(width: int = 40, height: int = 30, mode: str = "RGB") -> Image.Image:
    return Image.fromarray(noise(width, height)).convert(mode)


def headed(width: int, height: int, depth: int = 8, color: int = 2, data: bytes = b"") -> bytes:
    """A PNG that says so much and holds so little."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def exif(orientation: int) -> Image.Exif:
    block = Image.Exif()
    block[274] = orientation
    return block


def texts() -> PngImagePlugin.PngInfo:
    """A comment of 100 MB in a hundred kilobytes."""
    info = PngImagePlugin.PngInfo()
    info.add_text("comment", "x" * 100_000_000, zip=True)
    return info


def npy(array: Any, **options: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


def scanned(times: int) -> bytes:
    """A progressive JPEG that goes over its picture so many times more."""
    data = saved(picture(), "JPEG", progressive=True)
    last, end = data.rindex(b"\xff\xda"), data.rindex(b"\xff\xd9")
    return data[:end] + data[last:end] * times + data[end:]


JPEG = saved(picture(), "JPEG")
UNREADABLE = {
    "nothing": b"",
    "half a JPEG": JPEG[: len(JPEG) // 2],
    "a JPEG's beginning": JPEG[:3],
    "noise in a JPEG": JPEG[:20] + np.random.default_rng(0).bytes(len(JPEG)),
    "half a PNG": png(noise(40, 30))[:-200],
    "a PNG without pixels": headed(40, 30),
    "a PNG of no width": headed(0, 30),
    "a PNG of a depth there is not": headed(40, 30, depth=7),
    "half a WebP": saved(picture(), "WEBP")[:60],
    "a JPEG of a thousand scans": scanned(1000),
    "a TIFF's beginning": b"II*\0\x08\0\0\0",
    "a TIFF that points to itself": b"II*\0" + struct.pack("<IHHHII", 8, 1, 330, 4, 1, 8),
    "an array that is cut off": npy(noise(40, 30))[:-1],
    "an array of pickles": npy(np.array([[print]], object), allow_pickle=True),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_cannot_be_read_is_a_422(door: Door, name: str) -> None:
    answer = door.features(UNREADABLE[name], "image/jpeg")
    assert answer.status_code in (415, 422), answer.text
    door.refused(answer, answer.status_code, answer.json()["code"])


@pytest.mark.parametrize(
    "data",
    [
        b"hello",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        saved(picture(), "GIF"),
        saved(picture(), "BMP"),
        b"%PDF-",
        b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100),
        b"\0\0\0\x1cftypavif" + bytes(100),
        b"\xff\x0a" + bytes(100),
    ],
    ids=["text", "svg", "gif", "bmp", "pdf", "heic", "avif", "jxl"],
)
def test_other_formats_are_a_415_whatever_they_are_called(door: Door, data: bytes) -> None:
    door.refused(door.features(data, "image/png"), 415, "image_unsupported")


@pytest.mark.parametrize(
    "data",
    [headed(60_000, 60_000), headed(2**31 - 1, 2**31 - 1), headed(50_000, 50_000, 1, 0, bytes(10**6))],
    ids=["large", "as large as a PNG can be", "one bit"],
)
def test_a_bomb_is_a_413_before_it_is_decoded(door: Door, data: bytes) -> None:
    document = door.refused(door.features(data), 413, "image_too_large")
    assert "at most 50000000 pixels" in document["detail"]


def test_an_array_that_says_more_than_it_holds(door: Door) -> None:
    head = npy(noise(40, 30)).replace(b"(30, 40, 3)", b"(60000, 60000, 3)")
    assert door.features(head, "application/x-npy").status_code in (413, 422)


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 60_000), (60_000, 1), (3, 2)])
def test_thin_and_small_pictures_are_pictures(door: Door, width: int, height: int) -> None:
    answer = door.features(png(noise(width, height)), resize="none", levels="res2,res5")
    tensors = door.tensors(answer)
    assert tensors["res2"].shape == (1, 4, -(-height // 4), -(-width // 4))
    assert np.isfinite(tensors["res5"]).all()


@pytest.mark.parametrize("size", [(1, 60_000), (60_000, 1)])
def test_a_thin_picture_is_not_blown_up(door: Door, size: tuple[int, int]) -> None:
    answer = door.features(png(noise(*size)), resize={"short_side": 800})
    assert answer.status_code in (413, 422), answer.text
    within = door.features(png(noise(*size)), resize={"short_side": 800, "max_side": 1333})
    network = door.document(within)["images"][0]["network"]
    assert sorted(network.values()) == [1, 1333]


@pytest.mark.parametrize(
    ("data", "mode"),
    [
        (saved(picture(mode="CMYK"), "JPEG"), "CMYK"),
        (saved(picture(mode="L"), "JPEG"), "L"),
        (saved(picture(mode="RGBA"), "PNG"), "RGBA"),
        (saved(picture(mode="P"), "PNG", transparency=3), "P"),
        (saved(picture(mode="1"), "PNG"), "1"),
        (saved(picture(mode="LA"), "PNG"), "LA"),
    ],
    ids=["CMYK", "grey", "alpha", "palette", "one bit", "grey and alpha"],
)
def test_other_colours_are_converted_and_it_is_said(door: Door, data: bytes, mode: str) -> None:
    (image,) = door.document(door.features(data))["images"]
    assert image["converted_from"] == mode


@pytest.mark.parametrize(
    "data",
    [
        png(np.arange(1200, dtype=np.uint16).reshape(30, 40)),
        headed(4, 3, 16, 2, bytes((1 + 24) * 3)),
        saved(Image.fromarray(np.arange(1200, dtype=np.uint16).reshape(30, 40)), "TIFF"),
        saved(Image.fromarray(np.ones((30, 40), np.float32)), "TIFF"),
        npy(np.zeros((30, 40, 3), np.uint16)),
    ],
    ids=["grey PNG", "colour PNG", "grey TIFF", "float TIFF", "array"],
)
def test_sixteen_bits_are_never_made_eight(door: Door, data: bytes) -> None:
    door.refused(door.features(data), 422, "image_bit_depth")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_picture_is_set_upright(door: Door, orientation: int) -> None:
    turned = saved(picture(), "PNG", exif=exif(orientation))
    answer = door.features(turned)
    (image,) = door.document(answer)["images"]
    assert image["orientation"] == orientation
    assert image["original"] == {"width": 40, "height": 30}
    assert image["oriented"] == ({"width": 40, "height": 30} if orientation < 5 else {"width": 30, "height": 40})
    as_stored = door.tensors(door.features(turned, orientation="ignore"))["res5"]
    np.testing.assert_array_equal(as_stored, door.tensors(door.features(saved(picture(), "PNG")))["res5"])


@pytest.mark.parametrize("format", ["PNG", "WEBP", "TIFF"])
def test_of_an_animation_the_first_picture_counts(door: Door, format: str) -> None:
    options = {"lossless": True} if format == "WEBP" else {}
    frames = [Image.fromarray(255 - noise(40, 30)), Image.new("RGB", (40, 30))]
    animated = saved(picture(), format, save_all=True, append_images=frames, **options)
    answer = door.features(animated)
    assert door.document(answer)["images"][0]["animated"]
    alone = door.tensors(door.features(saved(picture(), "PNG")))["res5"]
    np.testing.assert_array_equal(door.tensors(answer)["res5"], alone)


@pytest.mark.parametrize(
    "data",
    [
        JPEG + b"what follows a picture" * 100,
        JPEG[:2] + b"\xff\xe1\x00\x10Exif\0\0II*\0\xff\xff\xff\xff" + JPEG[2:],
        png(noise(40, 30), pnginfo=texts()),
    ],
    ids=["something behind it", "broken EXIF", "a comment of 100 MB"],
)
def test_what_is_not_the_picture_does_no_harm(door: Door, data: bytes) -> None:
    assert door.features(data).status_code in (200, 422)
