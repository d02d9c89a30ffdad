"""Image files that are arrays of any number of channels: NumPy's `.npy`, and TIFFs of more bands than Pillow knows."""

from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray
from PIL import Image

from detco_core.contract.config.views import MAX_CHANNELS
from detco_core.contract.errors import DataError, ImageError
from detco_core.data.limits import MAX_ARRAY_BYTES, MAX_PIXELS
from detco_core.data.sources import Bytes
from detco_core.pixels.bands import Bands, read_bands

Pixels = NDArray[Any]
"""One image: uint8 or uint16, [H, W, C]."""

_BANDS = {"RGB": 3, "RGBA": 4, "CMYK": 4}
"""Channels of a coloured picture, by mode."""
SUFFIXES = (".npy", ".tif", ".tiff")
MAGIC: dict[bytes, Literal["npy", "tiff"]] = {
    b"\x93NUM": "npy",
    b"II*\0": "tiff",
    b"MM\0*": "tiff",
    b"II+\0": "tiff",
    b"MM\0+": "tiff",
}


def array_format(where: Bytes) -> Literal["npy", "tiff"] | None:
    """Which of the two formats a file is in, by its first bytes; files are looked into only if named like one."""
    if isinstance(where, BytesIO):
        return MAGIC.get(bytes(where.getbuffer()[:4]))
    if not where.lower().endswith(SUFFIXES):
        return None
    try:
        with Path(where).open("rb") as file:
            return MAGIC.get(file.read(4))
    except OSError as error:
        raise DataError(error.strerror or str(error)) from error


def read_npy(where: Bytes) -> Pixels:
    """Read an array of shape [H, W] or [H, W, C] and of 8- or 16-bit unsigned integers; `check` it first.

    Raises:
        DataError: with the reason alone.
    """
    try:
        with BytesIO(where.getbuffer()) if isinstance(where, BytesIO) else Path(where).open("rb") as file:
            version = npy.read_magic(file)
            read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
            shape, _, dtype = read_header(file)
            _check(shape, dtype)
            file.seek(0)
            return _whole(npy.read_array(file, allow_pickle=False))
    except DataError:
        raise
    except Exception as error:  # its parser raises nearly anything for hostile headers
        raise DataError(f"not a whole .npy file: {error}") from error


def read_tiff(where: Bytes) -> Bands:
    """Read the first page of a TIFF, bands last; `check` it first. Needs `tifffile`.

    Raises:
        DataError: with the reason alone.
    """
    try:
        return read_bands(where, MAX_PIXELS, MAX_ARRAY_BYTES)
    except ImageError as error:
        raise DataError(str(error)) from error


def picture_of(pixels: Pixels, mode: str | None = None) -> Image.Image:
    """One or three channels as grey or RGB, 16 bits by their high bytes; `mode`: what the file says of its colours.

    Raises:
        DataError: they make no picture.
    """
    height, width, count = pixels.shape
    mode = mode if mode in _BANDS and count > 1 else {1: "L", 3: "RGB"}.get(count, "")
    bands = 1 if mode == "L" else _BANDS.get(mode)
    if bands is None:
        raise DataError(f"{count} channels make no RGB image: set views.channels to {count}")
    shown = pixels[:, :, :bands]
    high = shown if shown.dtype == np.uint8 else (shown >> 8).astype(np.uint8)
    return Image.frombytes(mode, (width, height), np.ascontiguousarray(high).tobytes())


def _check(shape: tuple[int, ...], dtype: "np.dtype[Any]") -> None:
    if dtype not in (np.dtype(np.uint8), np.dtype("<u2"), np.dtype(">u2")):
        raise DataError(f"values of type {dtype} have no known range: convert them to 8 or 16 unsigned bits")
    if len(shape) not in (2, 3) or min(shape) < 1:
        raise DataError(f"an array of shape {shape} is no image: expected height, width and channels")
    count = int(np.prod(shape, dtype=np.float64))
    if count * dtype.itemsize > MAX_ARRAY_BYTES:
        raise DataError(f"an array of {count * dtype.itemsize} bytes, more than the limit of {MAX_ARRAY_BYTES}")


def _whole(array: NDArray[Any]) -> Pixels:
    pixels = array[:, :, None] if array.ndim == 2 else array
    height, width, channels = pixels.shape
    if channels > MAX_CHANNELS:
        raise DataError(f"{channels} channels (shape {array.shape}), more than the limit of {MAX_CHANNELS}")
    if height * width > MAX_PIXELS:
        raise DataError(f"{width}x{height} pixels, more than the limit of {MAX_PIXELS}")
    return np.ascontiguousarray(pixels, np.uint8 if pixels.dtype.itemsize == 1 else np.uint16)
