"""Turns the bytes of one image file, or an array, into pixels, bounded before anything is decoded.

The header is read first; bytes and pixels over the limits are refused without decoding. What only the model can judge
(colours, bits per channel) is reported here and decided in `colors`.
"""

import io
import math
from dataclasses import dataclass
from typing import Any, NamedTuple

from numpy.typing import NDArray
from PIL import BmpImagePlugin, Image, ImageFile, TiffImagePlugin

from detco_core.contract.datasets import fits_channels
from detco_core.contract.errors import ImageError
from detco_core.contract.features import Orientation
from detco_core.contract.manifest import InputSpec
from detco_core.inference.pictures.arrays import NPY, Planes, check_array, npy_size, planes_of, read_npy, unreadable
from detco_core.inference.pictures.readers import reader_of
from detco_core.inference.pictures.upright import oriented, turned
from detco_core.pixels.bands import read_bands, size_of
from detco_core.pixels.bounds import MISREAD, check_file
from detco_core.pixels.deep import bits_of, deep_colors, is_misread, loses_bits
from detco_core.pixels.orientation import UPRIGHT

_MOST_BYTES = 8
"""A pixel of a TIFF whose bands are read, on average over those that are taken: as 16-bit RGB with alpha."""
_NAMES = {(1, 8): "L", (3, 8): "RGB", (1, 16): "I;16", (3, 16): "RGB;16"}
"""Of arrays, by channels and bits."""
_SAMPLES_TAG = 277


class Size(NamedTuple):
    """Width and height in pixels."""

    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Limits:
    """The most one image file may be."""

    bytes: int = 32 * 2**20
    pixels: int = 64 * 10**6
    """Width x height, as stored."""


@dataclass(frozen=True, slots=True)
class DecodedImage:
    """Pixels of one image, upright when asked, in the colour mode of the file."""

    picture: Image.Image | Planes
    format: str
    stored: Size
    """Before orientation."""
    orientation: int = 1
    """EXIF 1..8 as found in the file, whether applied or not."""
    bits: int = 8
    """Per channel in the file. More than `picture` may hold: Pillow reads some 16-bit colour as 8-bit."""
    animated: bool = False
    """The file has more frames; `picture` is the first."""
    colors: str | None = None
    """Colour mode of the file where `picture` does not say it: `RGBA;16`, `RGBX`, ...; None: its own, or none."""

    @property
    def size(self) -> Size:
        """Of `picture`: after orientation when it was asked for."""
        first = self.picture[0] if isinstance(self.picture, tuple) else self.picture
        return Size(*first.size)

    @property
    def channels(self) -> int:
        """Of `picture`."""
        return len(self.picture if isinstance(self.picture, tuple) else self.picture.getbands())

    @property
    def mode(self) -> str:
        """What the file holds, for people."""
        shown = f"{self.channels} channels" if isinstance(self.picture, tuple) else self.picture.mode
        return self.colors or shown


def decode(
    data: bytes,
    limits: Limits | None = None,
    orientation: Orientation = "exif",
    spec: InputSpec | None = None,
    *,
    bitmaps: bool = False,
) -> DecodedImage:
    """Decode one JPEG, PNG, WebP or TIFF file, or `.npy` array, which has no orientation.

    `spec`, the input of the model it is for: as in training, 8-bit RGB is Pillow's to read; for any other, and for
    None, all bands and bits of a file are read. `bitmaps`: BMP too, which data sets may hold and requests may not.

    Raises:
        ImageError: `too_large` (bytes or pixels), `unsupported` (none of the formats) or `unreadable` (damaged);
            `channels` when a TIFF has others than `spec`.
    """
    limits = limits or Limits()
    if len(data) > limits.bytes:
        raise ImageError("too_large", f"the file has {len(data)} bytes; at most {limits.bytes} are taken")
    if data.startswith(NPY):
        return from_array(read_npy(data, limits.pixels), "NPY")
    reader = BmpImagePlugin.BmpImageFile if bitmaps and data.startswith(b"BM") else reader_of(data)
    is_tiff = reader is TiffImagePlugin.TiffImageFile
    check_file(data, limits.pixels)
    if data.startswith(MISREAD):
        return _of_bands(data, limits, orientation)
    try:
        image = reader(io.BytesIO(data))
    # Pillow's plugins raise nearly anything (struct.error, KeyError, SyntaxError, ...) for hostile headers.
    except Exception as error:
        if is_tiff:
            return _of_bands(data, limits, orientation, error)
        raise unreadable(error) from error
    _check_pixels(image, limits)
    if is_tiff and not _shows_all(image, spec):
        return _of_bands(data, limits, orientation)
    # Where 8 bits are wanted 16 are refused, whatever they are.
    return _of_pillow(image, data, orientation, whole=spec is None or spec.bit_depth == 16)


def stored_pixels(data: bytes) -> int:
    """Width x height that the header of a file gives; 0 when `decode` would not take it."""
    try:
        return math.prod(_stored_size(data))
    # As in `decode`: anything may be raised for hostile headers, and it says what is wrong.
    except Exception:  # noqa: BLE001 - the reason is above
        return 0


def from_array(pixels: NDArray[Any], format: str = "array") -> DecodedImage:
    """Pixels `[H, W]` or `[H, W, C]`, uint8 or uint16, as they are.

    Raises:
        ImageError: `unsupported` for another shape or type.
    """
    check_array(pixels.shape, pixels.dtype)
    planes, bits = planes_of(pixels), 8 * pixels.dtype.itemsize
    return DecodedImage(planes, format, Size(*planes[0].size), bits=bits, colors=_NAMES.get((len(planes), bits)))


def _stored_size(data: bytes) -> tuple[int, int]:
    if data.startswith(NPY):
        return npy_size(data)
    reader = reader_of(data)
    is_tiff = reader is TiffImagePlugin.TiffImageFile
    check_file(data, Limits().pixels)
    if data.startswith(MISREAD):
        return size_of(io.BytesIO(data))
    try:
        with reader(io.BytesIO(data)) as image:
            return image.size
    except Exception:
        if is_tiff:
            return size_of(io.BytesIO(data))
        raise


def _check_pixels(image: Image.Image, limits: Limits) -> None:
    if image.width * image.height > limits.pixels:
        raise ImageError(
            "too_large", f"the image is {image.width}x{image.height} pixels; at most {limits.pixels} pixels are taken"
        )


def _shows_all(image: ImageFile.ImageFile, spec: InputSpec | None) -> bool:
    """Whether Pillow shows all that the model takes of a TIFF; raises `ImageError` where it cannot take its bands."""
    samples = _samples(image)
    if spec is not None and not fits_channels(samples, spec.channels):
        raise ImageError("channels", f"the model takes {spec.channels} channels, the image has {samples}")
    if spec is not None and (spec.channels, spec.bit_depth) == (3, 8) and not is_misread(image):
        return True
    return samples == len(image.getbands()) and (not loses_bits(image) or deep_colors(image) is not None)


def _samples(image: Image.Image) -> int:
    tags = getattr(image, "tag_v2", {})
    return int(tags.get(_SAMPLES_TAG) or len(image.getbands()))


def _of_pillow(image: ImageFile.ImageFile, data: bytes, orientation: Orientation, *, whole: bool) -> DecodedImage:
    bits, deep = bits_of(image), deep_colors(image)
    colors = f"{deep};16" if deep is not None else None
    if image.format == "TIFF" and _samples(image) > len(image.getbands()):
        colors = image.mode + "X" * (_samples(image) - len(image.getbands()))
    animated = bool(getattr(image, "is_animated", False))
    try:
        picture, found = oriented(image, data, orientation, whole=whole)
    # As above, for hostile pixel data.
    except Exception as error:
        raise unreadable(error) from error
    return DecodedImage(
        picture, str(image.format), _as_stored(picture, found, orientation), found, bits, animated, colors
    )


def _of_bands(
    data: bytes, limits: Limits, orientation: Orientation, otherwise: Exception | None = None
) -> DecodedImage:
    """A TIFF that Pillow does not show whole, or, for the reason `otherwise`, not at all."""
    try:
        pixels, found, more_pages = read_bands(io.BytesIO(data), limits.pixels, _MOST_BYTES * limits.pixels)
    except ImageError as error:
        if otherwise is not None and error.code == "unreadable":
            raise unreadable(otherwise) from error
        raise
    planes = turned(planes_of(pixels), UPRIGHT.get(found) if orientation == "exif" else None)
    stored, bits = Size(pixels.shape[1], pixels.shape[0]), 8 * pixels.dtype.itemsize
    return DecodedImage(planes, "TIFF", stored, found, bits, more_pages)


def _as_stored(picture: Image.Image | Planes, found: int, orientation: Orientation) -> Size:
    shown = picture[0] if isinstance(picture, tuple) else picture
    size = Size(*shown.size)
    return Size(size.height, size.width) if orientation == "exif" and found > 4 else size
