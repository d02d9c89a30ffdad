"""Colours of pixels that are arrays, for which Pillow has no conversions."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

LUMA = (0.299, 0.587, 0.114)
"""ITU-R 601-2 weights of red, green and blue in grey, as Pillow has them."""

DEEP_CMYK = "16-bit CMYK has no one way to RGB or grey: convert the file to RGB or grey by its colour profile"


def gray_of(pixels: NDArray[Any]) -> NDArray[Any]:
    """The luma of RGB pixels, rounded: [H, W, 3] -> [H, W], of the same type."""
    # In one layout whoever asks: sums of floating-point numbers depend on it.
    gray = np.rint(np.ascontiguousarray(pixels, np.float32) @ np.array(LUMA, np.float32))
    return gray.astype(pixels.dtype)
