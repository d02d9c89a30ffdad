"""Images that are arrays: NumPy's `.npy`, bounded by its header, and planes of any number of channels."""

import io
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray
from PIL import Image

from detco_core.contract.config.views import MAX_CHANNELS
from detco_core.contract.errors import ImageError

NPY = npy.MAGIC_PREFIX
"""What a `.npy` file begins with."""
Planes = tuple[Image.Image, ...]
"""One picture of mode `L` or `I;16` a channel, of images that Pillow has no colour mode for."""


def read_npy(data: bytes, most_pixels: int) -> NDArray[Any]:
    """The array of a file, uint8 or uint16 of any byte order: [H, W] or [H, W, C].

    Raises:
        ImageError: `too_large` before anything is read; `unsupported` or `unreadable`.
    """
    file = io.BytesIO(data)
    try:
        shape, dtype = _header(file)
        check_array(shape, dtype)
        if shape[0] * shape[1] > most_pixels:
            message = f"the array is {shape[1]}x{shape[0]} pixels; at most {most_pixels} pixels are taken"
            raise ImageError("too_large", message)
        file.seek(0)
        return np.asarray(npy.read_array(file, allow_pickle=False))
    except ImageError:
        raise
    # NumPy's parser raises nearly anything (SyntaxError, tokenize's, UnicodeDecodeError, ...) for hostile headers.
    except Exception as error:
        raise unreadable(error) from error


def npy_size(data: bytes) -> tuple[int, int]:
    """Width and height that the header of a file gives; raises anything where it gives none."""
    (height, width, *_), _ = _header(io.BytesIO(data))
    return width, height


def check_array(shape: tuple[int, ...], dtype: "np.dtype[Any]") -> None:
    """Raise `ImageError`, `unsupported`, for a shape or type that is no image."""
    if dtype.kind != "u" or dtype.itemsize > 2:
        message = f"an array of {dtype} has no known range: send uint8, or uint16 where the model takes 16 bits"
        raise ImageError("unsupported", message)
    if len(shape) not in (2, 3) or min(shape) < 1 or shape[2:] > (MAX_CHANNELS,):
        expected = f"height, width and at most {MAX_CHANNELS} channels"
        raise ImageError("unsupported", f"an array of shape {list(shape)} is no image: expected {expected}")


def planes_of(pixels: NDArray[Any]) -> Planes:
    """Of `[H, W]` or `[H, W, C]`, in the machine's byte order."""
    channels = pixels[..., None] if pixels.ndim == 2 else pixels
    native = pixels.dtype.newbyteorder("=")
    return tuple(Image.fromarray(np.ascontiguousarray(plane, native)) for plane in np.moveaxis(channels, 2, 0))


def unreadable(error: Exception) -> ImageError:
    """The error of a file that its reader tripped over."""
    return ImageError("unreadable", f"the image is damaged or incomplete: {str(error) or type(error).__name__}"[:300])


def _header(file: io.BytesIO) -> tuple[tuple[int, ...], "np.dtype[Any]"]:
    version = npy.read_magic(file)
    read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = read_header(file)
    return shape, dtype
