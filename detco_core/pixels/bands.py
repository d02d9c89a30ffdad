"""TIFFs whose bands or bits Pillow would drop, read by tifffile, bounded before anything in them is unpacked."""

import lzma
import zlib
from io import BytesIO
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from detco_core.contract.config.views import MAX_CHANNELS
from detco_core.contract.errors import ImageError
from detco_core.pixels.deep import File
from detco_core.pixels.directory import MAX_VALUES
from detco_core.pixels.orientation import TAG, lawful

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPage

_DEFLATE = (8, 32946, 50013)
_LZMA = 34925
_LZMA_MEMORY = 2**28
_PACKBITS, _MOST_PACKED = 32773, 64
"""And bytes that one byte of it can stand for."""


class Bands(NamedTuple):
    """The first page of a TIFF, as it is stored."""

    pixels: NDArray[Any]
    """uint8 or uint16, [H, W, C]."""
    orientation: int
    """EXIF 1..8."""
    more_pages: bool


def size_of(where: File) -> tuple[int, int]:
    """Width and height, in pixels, as stored.

    Raises:
        ImageError: as `read_bands`.
    """
    with _opened(where) as tiff:
        (height, width, *_), _ = _image_shape(tiff.pages.first)
        return width, height


def read_bands(where: File, most_pixels: int, most_bytes: int) -> Bands:
    """Read the first page; needs `tifffile`.

    Args:
        where: the file.
        most_pixels: width x height that is taken.
        most_bytes: of the decoded array.

    Raises:
        ImageError: `unreadable`, `unsupported`, or `too_large` before anything is decoded.
    """
    try:
        with _opened(where) as tiff:
            page = tiff.pages.first
            shape, axes = _image_shape(page)
            _check(shape, axes, page, most_pixels, most_bytes)
            _check_segments(page, most_bytes)
            array = page.asarray(maxworkers=1).reshape(shape)
            turn = page.tags.get(TAG)
            more = bool(tiff.pages.is_multipage)
    except ImageError:
        raise
    except Exception as error:  # its parser raises whatever it trips over
        raise ImageError("unreadable", f"not a whole TIFF: {error}") from error
    last = np.moveaxis(array, 0, -1) if axes == "SYX" else array
    pixels = last if last.ndim == 3 else last[:, :, None]
    native = np.uint8 if pixels.dtype.itemsize == 1 else np.uint16
    orientation = lawful(None if turn is None else turn.value)
    return Bands(np.ascontiguousarray(pixels, native), orientation, more)


def _opened(where: File) -> "TiffFile":
    try:
        from tifffile import TiffFile
    except ImportError as error:
        needs = "needs the package tifffile: pip install 'detco[multichannel]'"
        raise ImageError("unsupported", f"reading TIFFs of this many bands or bits {needs}") from error
    try:
        return TiffFile(BytesIO(where.getvalue()) if isinstance(where, BytesIO) else where)
    except Exception as error:  # as above
        raise ImageError("unreadable", f"not a whole TIFF: {error}") from error


def _image_shape(page: "TiffPage") -> tuple[tuple[int, ...], str]:
    """The shape of one image and its axes, `YX`, `YXS` or `SYX` with S the bands: axes of length 1 are left out."""
    shape, axes = page.shape, page.axes
    if not all(isinstance(size, int) for size in (*shape, *page.chunks)):
        raise ImageError("unreadable", "not a whole TIFF: its sizes are no numbers")
    kept = [(size, axis) for size, axis in zip(shape, axes, strict=True) if size > 1 or axis in "YX"]
    letters = "".join(axis for _, axis in kept)
    if letters not in ("YX", "YXS", "SYX"):
        raise ImageError("unsupported", f"axes {axes} of shape {shape} are not one image")
    return tuple(size for size, _ in kept), letters


def _check(shape: tuple[int, ...], axes: str, page: "TiffPage", most_pixels: int, most_bytes: int) -> None:
    dtype = page.dtype or np.dtype(object)
    if dtype.kind != "u" or dtype.itemsize > 2:
        message = f"values of type {dtype} have no known range: convert them to 8 or 16 unsigned bits"
        raise ImageError("unsupported", message)
    size = dict(zip(axes, shape, strict=True))
    width, height, bands = size["X"], size["Y"], size.get("S", 1)
    if 0 in shape or bands > MAX_CHANNELS:
        raise ImageError("unsupported", f"{bands} channels (shape {shape}), more than the limit of {MAX_CHANNELS}")
    if width * height > most_pixels:
        raise ImageError("too_large", f"{width}x{height} pixels, more than the limit of {most_pixels}")
    if prod(shape) * dtype.itemsize > most_bytes:
        count = prod(shape) * dtype.itemsize
        raise ImageError("too_large", f"an array of {count} bytes, more than the limit of {most_bytes}")


def _check_segments(page: "TiffPage", most_bytes: int) -> None:
    """Strips and tiles: not too many, none larger than it may be, and none that unpacks to more than it says."""
    segments = list(zip(page.dataoffsets, page.databytecounts, strict=True))
    size = prod(page.chunks) * (page.dtype or np.dtype(object)).itemsize
    if len(segments) > MAX_VALUES or size > most_bytes:
        raise ImageError("too_large", f"{len(segments)} parts of {size} bytes, more than the limit of {most_bytes}")
    packed = int(page.compression)
    if packed == _PACKBITS and _MOST_PACKED * sum(page.databytecounts) > most_bytes:
        raise ImageError("too_large", "PackBits does not say how much it unpacks to: save the file as deflate")
    if packed not in (*_DEFLATE, _LZMA):
        return
    for offset, count in segments:
        page.parent.filehandle.seek(offset)
        if _unpacks_to_more(page.parent.filehandle.read(count), packed, size):
            raise ImageError(
                "too_large", f"a part of the TIFF unpacks to more than the {size} bytes that it stands for"
            )


def _unpacks_to_more(data: bytes, packed: int, size: int) -> bool:
    """Done with a bound, before tifffile does it without one; damage is left for it to find."""
    try:
        if packed == _LZMA:
            return len(lzma.LZMADecompressor(memlimit=_LZMA_MEMORY).decompress(data, size + 1)) > size
        return len(zlib.decompressobj().decompress(data, size + 1)) > size
    except (zlib.error, lzma.LZMAError):
        return False
