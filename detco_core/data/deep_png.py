"""16-bit colour of a PNG, all of it: Pillow has no picture for it and keeps the high bytes only.

Pillow's unpackers can be asked for either byte, though. For `RGB;16B` they take the first of each pair, which in a PNG
is the high one; for `RGB;16L` the second, the low one. Both see the same six (eight) bytes a pixel, which is what a
PNG's filters go by. So the file is decoded twice and the halves are put together.
"""

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageFile

from detco_core.contract.errors import DataError
from detco_core.data.images import opened

if TYPE_CHECKING:
    from detco_core.data.arrays import Pixels
    from detco_core.data.sources import Bytes

_LOW = {"RGB;16B": "RGB;16L", "RGBA;16B": "RGBA;16L"}
_GRAY = "LA;16B"
"""Two pairs, which are the four bytes of a pixel as RGBA."""


def is_deep_png(image: Image.Image) -> bool:
    """Whether it is one that `read_deep_png` reads; to be asked before it is loaded."""
    return image.format == "PNG" and (_raw_mode(image) in _LOW or is_gray_with_alpha(image))


def is_gray_with_alpha(image: Image.Image) -> bool:
    """Whether it holds two channels of 16 bits, for which Pillow shows four of 8."""
    return image.format == "PNG" and image.mode == "RGBA" and _raw_mode(image) == _GRAY


def read_deep_png(image: Image.Image, where: "Bytes") -> "Pixels":
    """The pixels of the opened image, alpha last: uint16 [H, W, 2, 3 or 4]; the image is loaded then.

    Raises:
        DataError: with the reason alone.
    """
    if is_gray_with_alpha(image):
        pairs = _decoded(image, "RGBA").astype(np.uint16)
        return pairs[..., 0::2] << 8 | pairs[..., 1::2]
    raw = _raw_mode(image)
    high = _decoded(image, raw).astype(np.uint16)
    with opened(where) as again:
        return high << 8 | _decoded(again, _LOW[raw])


def _decoded(image: Image.Image, raw: str) -> "Pixels":
    if not isinstance(image, ImageFile.ImageFile):
        raise DataError("not a picture of a file")
    image.tile = [tile._replace(args=raw) for tile in image.tile]
    image.load()
    return np.asarray(image)


def _raw_mode(image: Image.Image) -> str:
    tiles = getattr(image, "tile", ())
    arguments = tiles[0].args if tiles else ""
    return arguments if isinstance(arguments, str) else ""
