"""Training's loader and serving's decoder see the same numbers in every kind of file, or both refuse it."""

import struct
import zlib
from collections.abc import Iterator
from io import BytesIO
from typing import Any, Literal

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from tifffile import imwrite

from detco_core.contract.config import ViewsConfig
from detco_core.contract.datasets import fits_channels
from detco_core.contract.errors import DataError, ImageError
from detco_core.contract.manifest import InputSpec
from detco_core.data.channels import Facts, inspect, open_pixels
from detco_core.inference.pictures.colors import in_colors_of
from detco_core.inference.pictures.images import decode
from detco_core.inference.pictures.preprocess import prepare
from tests.pngs import animated, noise, packed, write_png, written

SCENE = Image.fromarray((noise(3, 41, 29) >> 8).astype(np.uint8))
MODELS = [(channels, depth) for channels in (1, 2, 3, 4, 5) for depth in (8, 16)]
TAGS = [(b"gAMA", struct.pack(">I", 45455)), (b"sBIT", bytes([12, 12, 12])), (b"tRNS", bytes(6))]
"""Gamma, significant bits and a colour that is transparent: what to show, not what is stored."""


def saved(image: Image.Image, format: str, **options: Any) -> bytes:
    file = BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def tiff(pixels: NDArray[Any], **options: Any) -> bytes:
    file = BytesIO()
    imwrite(file, pixels, **options)
    return file.getvalue()


def npy(pixels: NDArray[Any]) -> bytes:
    file = BytesIO()
    np.save(file, pixels)
    return file.getvalue()


def exif(orientation: int) -> Image.Exif:
    block = Image.Exif()
    block[274] = orientation
    return block


def few_bits(depth: int) -> bytes:
    """Grey of less than 8 bits."""
    rows = b"".join(b"\0" + bytes([27 * n % 256, 91, 5 * n]) for n in range(9))
    width = 24 // depth
    return written([(b"IHDR", struct.pack(">IIBBBBB", width, 9, depth, 0, 0, 0, 0)), (b"IDAT", zlib.compress(rows))])


def small_bmp() -> bytes:
    """5 bits of red, 6 of green and 5 of blue, as by the masks in its head."""
    rows = np.random.default_rng(0).bytes(8 * 3)
    head = struct.pack("<IiiHHIIiiII", 40, 4, 3, 1, 16, 3, len(rows), 0, 0, 0, 0) + struct.pack(
        "<III", 0xF800, 0x7E0, 0x1F
    )
    return struct.pack("<2sIHHI", b"BM", 14 + len(head) + len(rows), 0, 0, 14 + len(head)) + head + rows


def pngs() -> Iterator[tuple[str, bytes]]:
    for channels, name in ((1, "grey"), (2, "grey and alpha"), (3, "RGB"), (4, "RGBA")):
        yield f"16-bit {name} PNG", write_png(noise(channels))
        yield f"16-bit {name} PNG, interlaced", write_png(noise(channels), interlaced=True)
    for orientation in range(1, 9):
        yield f"16-bit RGB PNG, orientation {orientation}", write_png(noise(3), orientation=orientation)
    yield "16-bit RGB PNG, orientation behind the pixels", write_png(noise(3), after=[(b"eXIf", exif(6).tobytes()[6:])])
    yield "16-bit RGB PNG with gamma, significant bits and transparency", write_png(noise(3), before=TAGS)
    yield "16-bit grey PNG with transparency", write_png(noise(1), before=[(b"tRNS", bytes(2))])
    yield "16-bit RGB PNG, animated", animated(noise(3), 65535 - noise(3))
    halves = packed(noise(3))
    header = struct.pack(">IIBBBBB", 23, 17, 16, 2, 0, 0, 0)
    pieces = [(b"IDAT", halves[n : n + 100]) for n in range(0, len(halves), 100)]
    yield "16-bit RGB PNG in many pieces", written([(b"IHDR", header), *pieces])
    for depth in (1, 2, 4):
        yield f"{depth}-bit grey PNG", few_bits(depth)
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA"):
        yield f"{mode} PNG", saved(SCENE.convert(mode), "PNG")
    palette = SCENE.quantize(8)
    yield "palette PNG with transparency", saved(palette, "PNG", transparency=bytes([0, 128, 255]))
    yield "palette PNG with a transparent colour", saved(palette, "PNG", transparency=3)
    yield "RGB PNG with a transparent colour", saved(SCENE, "PNG", transparency=(1, 2, 3))
    yield "L PNG with a transparent grey", saved(SCENE.convert("L"), "PNG", transparency=7)


def tiffs() -> Iterator[tuple[str, bytes]]:
    for order in "<>":
        for packing in (None, "zlib"):
            how: dict[str, Any] = {"byteorder": order, "compression": packing}
            said = f"{order} {packing}"
            yield f"16-bit grey TIFF {said}", tiff(noise(1)[..., 0], **how)
            yield f"16-bit RGB TIFF {said}", tiff(noise(3), photometric="rgb", **how)
            yield f"16-bit RGB TIFF in strips {said}", tiff(noise(3), photometric="rgb", rowsperstrip=4, **how)
            yield f"16-bit RGB TIFF in tiles {said}", tiff(noise(3, 70, 50), photometric="rgb", tile=(16, 32), **how)
            yield f"16-bit RGBA TIFF {said}", tiff(noise(4), photometric="rgb", extrasamples=["unassalpha"], **how)
            yield f"16-bit CMYK TIFF {said}", tiff(noise(4), photometric="separated", **how)
            yield (
                f"16-bit TIFF of 5 bands {said}",
                tiff(noise(5), photometric="minisblack", planarconfig="contig", **how),
            )
    planar = np.moveaxis(noise(3), 2, 0)
    yield "16-bit RGB TIFF, planar", tiff(planar, photometric="rgb", planarconfig="separate")
    yield (
        "16-bit CMYK TIFF, planar",
        tiff(np.moveaxis(noise(4), 2, 0), photometric="separated", planarconfig="separate"),
    )
    yield (
        "16-bit RGB TIFF, planar, deflate",
        tiff(planar, photometric="rgb", planarconfig="separate", compression="zlib"),
    )
    yield "16-bit RGB and something TIFF", tiff(noise(4), photometric="rgb", extrasamples=["unspecified"])
    yield "16-bit premultiplied RGBA TIFF", tiff(noise(4), photometric="rgb", extrasamples=["assocalpha"])
    yield "16-bit TIFF of 2 bands", tiff(noise(2), photometric="minisblack", planarconfig="contig")
    yield "big 16-bit RGB TIFF", tiff(noise(3), photometric="rgb", bigtiff=True)
    yield "big-endian big 16-bit RGB TIFF", tiff(noise(3), photometric="rgb", bigtiff=True, byteorder=">")
    yield "16-bit TIFF of 3 planes", tiff(planar, photometric="minisblack", planarconfig="separate")
    yield "16-bit RGB TIFF of two pages", tiff(np.stack([noise(3), 65535 - noise(3)]), photometric="rgb")
    for orientation in range(1, 9):
        turned: dict[str, Any] = {"extratags": [(274, "H", 1, orientation, True)]}
        yield f"16-bit RGB TIFF, orientation {orientation}", tiff(noise(3), photometric="rgb", **turned)
        bands = tiff(noise(5), photometric="minisblack", planarconfig="contig", **turned)
        yield f"16-bit TIFF of 5 bands, orientation {orientation}", bands
    bytes_of = (noise(5) >> 8).astype(np.uint8)
    yield "TIFF of 5 bands", tiff(bytes_of, photometric="minisblack", planarconfig="contig")
    three = bytes_of[..., :3].copy()
    yield "TIFF of 3 bands", tiff(three, photometric="minisblack", planarconfig="contig")
    yield "big-endian big RGB TIFF", tiff(three, photometric="rgb", bigtiff=True, byteorder=">")
    yield "RGB TIFF with two more bands", tiff(bytes_of, photometric="rgb", extrasamples=["unspecified"] * 2)
    yield "RGB TIFF with near infrared", tiff(bytes_of[..., :4].copy(), photometric="rgb", extrasamples=["unspecified"])
    two = bytes_of[..., :2].copy()
    yield "grey TIFF and something", tiff(two, photometric="minisblack", extrasamples=["unspecified"])
    yield "RGB TIFF, planar", tiff(np.moveaxis(bytes_of[..., :3], 2, 0), photometric="rgb", planarconfig="separate")
    yield "negative TIFF", tiff(two[..., 0].copy(), photometric="miniswhite")
    yield "16-bit negative TIFF", tiff(noise(1)[..., 0], photometric="miniswhite")
    yield "TIFF of signed 16 bits", tiff(noise(1)[..., 0].astype(np.int16) & 0x7FFF)
    yield "TIFF of negative numbers", tiff(-np.ones((9, 7), np.int16))
    yield "32-bit TIFF", saved(Image.fromarray(noise(1)[..., 0].astype(np.int32)), "TIFF")
    yield "32-bit TIFF beyond 16 bits", saved(Image.fromarray(noise(1)[..., 0].astype(np.int32) * 9), "TIFF")
    yield "floating-point TIFF", saved(Image.fromarray(np.ones((9, 7), np.float32)), "TIFF")
    yield "half-precision TIFF", tiff(np.ones((9, 7), np.float16))
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "LAB", "YCbCr"):
        source = SCENE.convert(mode) if mode != "LAB" else Image.frombytes("LAB", SCENE.size, SCENE.tobytes())
        yield f"{mode} TIFF", saved(source, "TIFF")
        if mode not in ("LAB", "YCbCr"):
            yield f"{mode} TIFF, LZW", saved(source, "TIFF", compression="tiff_lzw")


def others() -> Iterator[tuple[str, bytes]]:
    for mode in ("L", "RGB", "CMYK"):
        yield f"{mode} JPEG", saved(SCENE.convert(mode), "JPEG", exif=exif(5))
    yield "progressive JPEG", saved(SCENE, "JPEG", progressive=True)
    for mode in ("1", "L", "P", "RGB", "RGBA"):
        yield f"{mode} BMP", saved(SCENE.convert(mode), "BMP")
    yield "BMP of 16 bits a pixel", small_bmp()
    for mode in ("RGB", "RGBA"):
        yield f"{mode} WebP", saved(SCENE.convert(mode), "WEBP", lossless=True)
    for channels in (1, 2, 3, 4, 5):
        for dtype in ("u1", "<u2", ">u2"):
            yield f"{dtype} array of {channels}", npy((noise(channels) >> (8 if dtype == "u1" else 0)).astype(dtype))
    yield "flat array", npy(noise(1)[..., 0])


KINDS = dict([*pngs(), *tiffs(), *others()])


_COLORS: dict[int, Literal["rgb", "gray", "raw"]] = {1: "gray", 3: "rgb"}


def spec_of(channels: int, depth: int) -> InputSpec:
    color = _COLORS.get(channels, "raw")
    return InputSpec(channels=channels, mean=(0.4,) * channels, std=(0.3,) * channels, color=color, bit_depth=depth)


def facts_of(file: bytes) -> Facts | None:
    try:
        return inspect(BytesIO(file))
    except DataError:
        return None


def in_training(file: bytes, channels: int, depth: int) -> NDArray[Any] | None:
    """[H, W, C]; None: refused."""
    try:
        found = np.asarray(open_pixels(BytesIO(file), None, ViewsConfig(channels=channels, bit_depth=depth)))  # type: ignore[arg-type]  # 8 or 16
    except DataError:
        return None
    return found


def in_serving(file: bytes, channels: int, depth: int) -> NDArray[Any] | str:
    """[H, W, C], or the code of a refusal; the network's input is made of the same numbers."""
    spec = spec_of(channels, depth)
    try:
        decoded = decode(file, spec=spec, bitmaps=True)
        picture, _ = in_colors_of(decoded, spec)
        prepared = prepare(decoded, spec)
    except ImageError as error:
        return error.code
    bands = picture if isinstance(picture, tuple) else picture.split()
    planes = np.stack([np.asarray(band) for band in bands])
    full, mean, std = 2**depth - 1, spec.mean[0], spec.std[0]
    normal = planes.astype(np.float32) * np.float32(1 / (full * std)) - np.float32(mean / std)
    assert np.array_equal(prepared.array[0], normal)
    return np.moveaxis(planes, 0, 2)


@pytest.mark.filterwarnings("ignore:Palette images with Transparency expressed in bytes:UserWarning:PIL")
@pytest.mark.parametrize("kind", KINDS)
def test_training_and_serving_see_the_same_numbers(kind: str) -> None:
    file = KINDS[kind]
    stored = facts_of(file)
    for channels, depth in MODELS:
        # Training by hand takes the first bands of more than four for RGB; of a data set that was scanned it does not.
        fits = stored is not None and fits_channels(stored.channels, channels)
        trained = in_training(file, channels, depth) if fits else None
        served = in_serving(file, channels, depth)
        case = f"{channels} channels of {depth} bits: {served if isinstance(served, str) else served.dtype}"
        if isinstance(served, str):
            # Training brings one depth to the other, as its config says; serving never does.
            other_depth = stored is not None and stored.bit_depth != depth
            assert trained is None or (served == "bit_depth" and other_depth), case
        else:
            assert trained is not None, case
            assert served.dtype == trained.dtype == (np.uint8 if depth == 8 else np.uint16), case
            assert np.array_equal(served, trained), case


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("packing", [None, "zlib"])
@pytest.mark.parametrize("tile", [None, (16, 32)])
@pytest.mark.parametrize(("colors", "bands"), [("rgb", 3), ("rgb", 4), ("separated", 4)])
@pytest.mark.parametrize("planar", [False, True])
def test_they_are_the_numbers_that_were_written(
    order: str, packing: str | None, tile: tuple[int, int] | None, colors: str, bands: int, planar: bool
) -> None:
    """Not only the same: what both read by Pillow both may misread."""
    stored = noise(bands, 70, 50)
    how: dict[str, Any] = {"byteorder": order, "compression": packing, "tile": tile, "photometric": colors}
    if (colors, bands) == ("rgb", 4):
        how["extrasamples"] = ["unassalpha"]
    written = np.ascontiguousarray(np.moveaxis(stored, 2, 0)) if planar else stored
    file = tiff(written, planarconfig="separate" if planar else "contig", **how)
    assert facts_of(file) == Facts(70, 50, bands, 16)
    for read in (in_training(file, bands, 16), in_serving(file, bands, 16)):
        assert isinstance(read, np.ndarray)
        assert np.array_equal(read, stored)
    if colors == "rgb":
        eight = in_training(file, 3, 8)
        assert eight is not None
        assert np.array_equal(eight, stored[..., :3] >> 8)


@pytest.mark.parametrize("model", MODELS)
def test_every_model_is_served_something(model: tuple[int, int]) -> None:
    """The test above would pass if everything were refused."""
    channels, depth = model
    file = KINDS[f"{'u1' if depth == 8 else '<u2'} array of {channels}"]
    assert not isinstance(in_serving(file, channels, depth), str)
