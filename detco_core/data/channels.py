"""Images of any number of channels and of 8 or 16 bits: what a file holds, and its pixels as a run asks for them."""

from typing import NamedTuple

import numpy as np
from PIL import Image

from detco_core.contract.config import ViewsConfig
from detco_core.contract.errors import DataError
from detco_core.data.arrays import Pixels, array_format, read_npy, read_tiff
from detco_core.data.images import decode_rgb
from detco_core.data.limits import check
from detco_core.data.opening import opened, quiet, upright_by
from detco_core.data.sources import Bytes
from detco_core.pixels.colors import DEEP_CMYK, gray_of
from detco_core.pixels.deep import bits_of, deep_colors, is_gray_with_alpha, loses_bits, read_deep, sixteen_bits
from detco_core.pixels.orientation import UPRIGHT

PROOF_SIDE = 64
"""JPEGs are proved at a reduced scale down to this short side: all of their data is still read."""


class Facts(NamedTuple):
    """What one image file holds."""

    width: int
    """Pixels, as stored (before EXIF orientation)."""
    height: int
    channels: int
    bit_depth: int
    """8 or 16."""


def inspect(where: Bytes) -> Facts:
    """Decode an image to its end and say what it is; not for its colours, so `quiet` is the caller's.

    Raises:
        DataError: with the reason alone, when it cannot be read.
    """
    array = _read_array(where)
    if array is not None:
        pixels, _ = array
        height, width, channels = pixels.shape
        return Facts(width, height, channels, 8 * pixels.dtype.itemsize)
    with opened(where) as image:
        facts = Facts(*image.size, _channels(image), 8 if image.mode == "F" else min(bits_of(image), 16))
        image.draft("RGB", (PROOF_SIDE, PROOF_SIDE))
        image.load()
        return facts


def open_pixels(where: Bytes, short_side: int | None, views: ViewsConfig) -> Image.Image | Pixels:
    """Decode an image as the views take it: 8-bit RGB as `open_image`, else [H, W, `views.channels`], upright.

    Grey becomes RGB and RGB grey; every other count must be what is stored. 8-bit values in a 16-bit run are spread
    over the range (times 257), 16-bit values in an 8-bit run keep their high byte.

    Raises:
        DataError: with the reason alone.
    """
    with quiet():
        return decode(where, short_side, views)


def decode(where: Bytes, short_side: int | None, views: ViewsConfig) -> Image.Image | Pixels:
    """As `open_pixels`, without silencing Pillow's warnings: for use in threads."""
    if views.channels == 3 and views.bit_depth == 8:
        return decode_rgb(where, short_side)
    pixels, turn = _read_array(where) or _read_image(where, short_side, views)
    pixels = _with_depth(_with_channels(_reduced(pixels, short_side), views.channels), views.bit_depth)
    return pixels if turn is None else _turned(pixels, turn)


def _read_array(where: Bytes) -> tuple[Pixels, Image.Transpose | None] | None:
    """The whole array of a `.npy`, or of a TIFF whose bands or bits Pillow would drop, and what turns it upright.

    None: Pillow's to read.
    """
    kind = array_format(where)
    if kind is not None:
        check(where)
    if kind == "npy":
        return read_npy(where), None
    if kind is None or _pillow_reads(where):
        return None
    bands = read_tiff(where)
    return bands.pixels, UPRIGHT.get(bands.orientation)


def _pillow_reads(where: Bytes) -> bool:
    try:
        with opened(where) as image:
            whole = not loses_bits(image) or deep_colors(image) is not None
            return len(image.getbands()) == _channels(image, palette=1) and whole
    except DataError:
        return False


def _read_image(where: Bytes, short_side: int | None, views: ViewsConfig) -> tuple[Pixels, Image.Transpose | None]:
    with opened(where) as image:
        colors = deep_colors(image)
        if colors == "CMYK" and views.channels in (1, 3):
            raise DataError(DEEP_CMYK)
        if colors is not None:
            planes = read_deep(image, where)
            shown = planes[:-1] if colors in ("LA", "RGBA") and views.channels in (1, 3) else planes
            return np.ascontiguousarray(np.moveaxis(shown, 0, 2)), upright_by(image)
        if views.bit_depth == 16 and loses_bits(image):
            raise DataError("16-bit colour in this format would lose its low byte: convert it to PNG, TIFF or .npy")
        if short_side is not None:
            image.draft("L" if views.channels == 1 else "RGB", (short_side, short_side))
        image.load()
        return _as_array(image, views.channels), upright_by(image)


def _as_array(image: Image.Image, channels: int) -> Pixels:
    if image.mode == "F":
        raise DataError("floating-point pixels have no known range: convert the file to 8 or 16 bits")
    if image.mode.startswith("I"):
        return sixteen_bits(image)[:, :, None]
    wanted = {1: "L", 3: "RGB"}.get(channels)
    if wanted is None and image.mode in ("1", "P"):
        wanted = "L" if image.mode == "1" else "RGB"
    pixels: Pixels = np.array(image if wanted in (None, image.mode) else image.convert(wanted))
    return pixels if pixels.ndim == 3 else pixels[:, :, None]


def _channels(image: Image.Image, palette: int = 3) -> int:
    """Channels as stored; `palette` of a palette image, which shows three."""
    if image.mode == "P":
        return palette
    if is_gray_with_alpha(image):
        return 2
    tags = getattr(image, "tag_v2", None)
    samples = tags.get(277) if image.format == "TIFF" and tags is not None else None
    return int(samples) if samples else len(image.getbands())


def _with_channels(pixels: Pixels, channels: int) -> Pixels:
    stored = pixels.shape[2]
    if stored == channels:
        return pixels
    if stored == 1 and channels == 3:
        return np.repeat(pixels, 3, axis=2)
    if stored == 3 and channels == 1:
        return gray_of(pixels)[:, :, None]
    raise DataError(f"the image has {stored} channels, and views.channels is {channels}")


def _with_depth(pixels: Pixels, bit_depth: int) -> Pixels:
    if 8 * pixels.dtype.itemsize == bit_depth:
        return pixels
    return pixels.astype(np.uint16) * np.uint16(257) if bit_depth == 16 else (pixels >> 8).astype(np.uint8)


def _reduced(pixels: Pixels, short_side: int | None) -> Pixels:
    """The means of blocks of a whole factor a side, as far as the short side stays at least `short_side`."""
    height, width, channels = pixels.shape
    factor = min(height, width) // short_side if short_side else 1
    if factor <= 1:
        return pixels
    height, width = height // factor, width // factor
    total = np.zeros((height, width, channels), np.uint64)
    for top in range(factor):
        for left in range(factor):
            total += pixels[top : height * factor : factor, left : width * factor : factor]
    return ((total + factor * factor // 2) // (factor * factor)).astype(pixels.dtype)


def _turned(pixels: Pixels, turn: Image.Transpose) -> Pixels:
    flips = {
        Image.Transpose.FLIP_LEFT_RIGHT: lambda x: x[:, ::-1],
        Image.Transpose.FLIP_TOP_BOTTOM: lambda x: x[::-1],
        Image.Transpose.ROTATE_180: lambda x: x[::-1, ::-1],
        Image.Transpose.TRANSPOSE: lambda x: x.swapaxes(0, 1),
        Image.Transpose.TRANSVERSE: lambda x: x[::-1, ::-1].swapaxes(0, 1),
        Image.Transpose.ROTATE_90: lambda x: x.swapaxes(0, 1)[::-1],
        Image.Transpose.ROTATE_270: lambda x: x.swapaxes(0, 1)[:, ::-1],
    }
    turned: Pixels = np.ascontiguousarray(flips[turn](pixels))
    return turned
