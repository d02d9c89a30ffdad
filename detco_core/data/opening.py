"""Opens one image file by the reader that reads it right, its header checked and nothing decoded yet."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from detco_core.contract.errors import DataError
from detco_core.data.arrays import array_format, picture_of, read_npy, read_tiff
from detco_core.data.limits import MAX_PIXELS, check
from detco_core.data.sources import Bytes
from detco_core.pixels.deep import is_misread
from detco_core.pixels.orientation import TAG, UPRIGHT

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")
"""Pillow's decoders that may see a file, whatever its name says; the others are never tried."""


@contextmanager
def quiet() -> Iterator[None]:
    """Silence what Pillow and tifffile say of odd files, a line an entry; process-wide, so not for use in threads."""
    entries = logging.getLogger("tifffile")
    before, entries.disabled = entries.disabled, True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        entries.disabled = before


@contextmanager
def opened(where: Bytes | Path, *, high_bytes: bool = False) -> Iterator[Image.Image]:
    """Open an image with its header checked and, but for arrays, nothing decoded yet.

    `high_bytes`: TIFFs that Pillow does not read, or misreads, are read as well, 16 bits by their high bytes.

    Raises:
        DataError: with the reason alone, whatever goes wrong, also inside the `with` block.
    """
    try:
        with _open(where, high_bytes=high_bytes) as image:
            if image.width * image.height > MAX_PIXELS:
                raise DataError(f"{image.width}x{image.height} pixels, more than the limit of {MAX_PIXELS}")
            yield image
    except DataError:
        raise
    except Exception as error:  # Pillow's parsers raise whatever they trip over
        raise DataError(_reason(error, where)) from error


def _open(where: Bytes | Path, *, high_bytes: bool) -> Image.Image:
    kept = where if isinstance(where, BytesIO) else str(where)
    try:
        image = _pillows(where)
    except UnidentifiedImageError:
        kind = array_format(kept)
        if kind == "npy":
            return picture_of(read_npy(kept))
        if kind is None or not high_bytes:
            raise
        return _by_tifffile(kept)
    if not is_misread(image):
        return image
    with image:
        if not high_bytes:
            raise DataError("Pillow misreads planes of 16 bits: name the file .tif, or interleave its channels")
        return _by_tifffile(kept, image.mode)


def _pillows(where: Bytes | Path) -> Image.Image:
    """An image that Pillow opens, once the file was looked at.

    Raises:
        UnidentifiedImageError: it is for another reader.
        DataError: as `check`.
    """
    if not check(where):
        raise UnidentifiedImageError("a BigTIFF of big-endian numbers")
    return Image.open(where, formats=FORMATS)


def _by_tifffile(where: Bytes, mode: str | None = None) -> Image.Image:
    """Upright."""
    stored = read_tiff(where)
    picture, turn = picture_of(stored.pixels, mode), UPRIGHT.get(stored.orientation)
    return picture if turn is None else picture.transpose(turn)


def _reason(error: Exception, where: Bytes | Path) -> str:
    if isinstance(error, UnidentifiedImageError):
        size = len(where.getbuffer()) if isinstance(where, BytesIO) else Path(where).stat().st_size
        return "not an image in a supported format" if size else "the file is empty"
    if isinstance(error, Image.DecompressionBombError):
        return f"more pixels than the limit of {MAX_PIXELS}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


def upright_by(image: Image.Image) -> Image.Transpose | None:
    """The turn that brings an image upright, by its EXIF orientation; None when it is upright, or says nothing."""
    try:
        return UPRIGHT.get(image.getexif().get(TAG, 1))
    except Exception:  # noqa: BLE001  # damaged EXIF must not cost the image; its parser raises anything
        return None
