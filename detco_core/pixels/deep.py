"""16-bit colour of a PNG or TIFF, all of it: Pillow has no picture for it and keeps the high bytes only.

Pillow's unpackers can be asked for either byte, though. For `RGB;16B` they take the first of each pair, which in a PNG
is the high one; for `RGB;16L` the second, the low one. Both see the same six (eight) bytes a pixel, which is what a
PNG's filters go by. So the file is decoded twice and the halves are put together.
"""

import sys
from collections.abc import Sequence
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from detco_core.contract.errors import ImageError

File = str | BytesIO
"""An image file: its path, or its bytes."""
Planes = NDArray[np.uint16]
"""One image, a plane a channel: [C, H, W]."""

_COLORS = ("RGB", "RGBA", "CMYK")
_OTHER_BYTE = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}
"""Order of the bytes in a pair, by the letter of the raw mode that shows the high one; `N` is the machine's own."""
_LOW, _HIGH = (0, 1) if sys.byteorder == "little" else (1, 0)
"""Places of the bytes in a number."""
_GRAY = "LA;16B"
"""Two pairs, which are the four bytes of a pixel as RGBA."""
_PACKED = ("BGR;16",)
"""Of a bitmap: 16 bits for all three channels."""
_BITS = 258
"""Of a TIFF: bits of each channel."""
_PLANAR = (284, 2)
"""Tag and value of a TIFF that stores its channels one after another."""


def bits_of(image: Image.Image) -> int:
    """Bits a channel that the file holds, 8, 16 or 32: by the mode it was stored in, so ask before it is loaded."""
    if image.mode in ("I", "F"):
        return 32
    raw = _raw_mode(image)
    return 16 if ("16" in f"{image.mode} {raw}" and raw not in _PACKED) or is_misread(image) else 8


def is_misread(image: Image.Image) -> bool:
    """Whether Pillow takes planes of 16 bits for planes of 8 and shows noise: those of a TIFF that packs nothing."""
    tags = getattr(image, "tag_v2", {})
    return tags.get(_PLANAR[0]) == _PLANAR[1] and 16 in tags.get(_BITS, ()) and len(_raw_mode(image)) == 1


def loses_bits(image: Image.Image) -> bool:
    """Whether Pillow shows 8 bits of 16; to be asked before it is loaded."""
    return bits_of(image) == 16 and not image.mode.startswith("I")


def deep_colors(image: Image.Image) -> str | None:
    """`RGB`, `RGBA`, `LA` or `CMYK` of an image that `read_deep` reads, None of any other; before it is loaded."""
    if is_gray_with_alpha(image):
        return "LA"
    return None if _low(image) is None else image.mode


def is_gray_with_alpha(image: Image.Image) -> bool:
    """Whether it holds two channels of 16 bits, for which Pillow shows four of 8."""
    return image.format == "PNG" and image.mode == "RGBA" and _raw_mode(image) == _GRAY


def read_deep(image: Image.Image, where: File) -> Planes:
    """The channels of the opened image, alpha last: uint16 [2, 3 or 4, H, W]; the image is loaded then.

    Memory: two bytes a value, and four bytes a pixel for the halves, one after the other.

    Raises:
        Exception: whatever Pillow trips over.
    """
    if is_gray_with_alpha(image):
        _loaded(image, "RGBA")
        planes = np.empty((2, image.height, image.width), np.uint16)
        _put(planes, image, _HIGH, (0, 2))
        _put(planes, image, _LOW, (1, 3))
        return planes
    low = _low(image)
    if low is None or not isinstance(image, ImageFile.ImageFile):
        raise ValueError("not a file with 16-bit colour")
    # Low bytes first, so that their picture is gone before the image, which stays with the caller, is decoded.
    planes = _low_bytes(image, where, low)
    image.load()
    _put(planes, image, _HIGH, range(len(planes)))
    return planes


def sixteen_bits(image: Image.Image) -> NDArray[np.uint16]:
    """The values of an image of mode `I` or `I;16`, whatever their byte order: [H, W].

    Raises:
        ImageError: `bit_depth` where 16 bits do not hold them.
    """
    values: NDArray[Any] = np.asarray(image)
    if values.dtype.itemsize > 2 and (values.min() < 0 or values.max() > 0xFFFF):
        message = "32-bit pixels outside 0..65535 have no known range: convert the file to 8 or 16 bits"
        raise ImageError("bit_depth", message)
    return values.astype(np.uint16, copy=False)


def _low_bytes(image: ImageFile.ImageFile, where: File, raw: str) -> Planes:
    """A plane a channel with the low bytes in it, and no high ones yet."""
    with type(image)(_from_start(where)) as again:
        _loaded(again, raw)
        planes = np.empty((len(again.getbands()), again.height, again.width), np.uint16)
        _put(planes, again, _LOW, range(len(planes)))
        return planes


def _put(planes: Planes, image: Image.Image, byte: int, channels: Sequence[int]) -> None:
    """Make the `channels` of an image the low or high bytes of the planes."""
    halves = planes.view(np.uint8).reshape(*planes.shape, 2)
    for plane, channel in zip(halves, channels, strict=True):
        plane[..., byte] = image.getchannel(channel)


def _loaded(image: Image.Image, raw: str) -> None:
    """Decode it with another unpacker."""
    if isinstance(image, ImageFile.ImageFile):
        image.tile = [tile._replace(args=_with_raw(tile.args, raw)) for tile in image.tile]
    image.load()


def _with_raw(arguments: Any, raw: str) -> Any:
    return (raw, *arguments[1:]) if isinstance(arguments, tuple) else raw


def _low(image: Image.Image) -> str | None:
    """The raw mode that shows the low bytes, where there is one."""
    colors, _, order = _raw_mode(image).partition(";16")
    tags = getattr(image, "tag_v2", None)
    planar = tags is not None and tags.get(_PLANAR[0]) == _PLANAR[1]
    if image.format not in ("PNG", "TIFF") or colors != image.mode or colors not in _COLORS or planar:
        return None
    return f"{colors};16{_OTHER_BYTE[order]}" if order in _OTHER_BYTE else None


def _raw_mode(image: Image.Image) -> str:
    tiles = getattr(image, "tile", ())
    arguments = tiles[0].args if tiles else ""
    raw = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return raw if isinstance(raw, str) else ""


def _from_start(where: File) -> File:
    # The bytes are shared, not copied.
    return BytesIO(where.getvalue()) if isinstance(where, BytesIO) else where
