"""Turns the bytes of one image file, or an array, into pixels, bounded before anything is decoded.

The header is read first; bytes and pixels over the limits are refused without decoding. What only the model can judge
(channels, bits per channel) is reported here and decided in `preprocess`.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray
from PIL import Image, ImageFile, JpegImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin

from detco_core.contract.config.views import MAX_CHANNELS
from detco_core.contract.errors import ImageError
from detco_core.contract.features import Orientation

FORMATS = ("JPEG", "PNG", "WebP", "TIFF")
Planes = tuple[Image.Image, ...]
"""One picture of mode `L` or `I;16` a channel, of images that Pillow has no colour mode for."""

_ORIENTATION_TAG = 274
_Flip = Image.Transpose
_UPRIGHT = {
    2: _Flip.FLIP_LEFT_RIGHT,
    3: _Flip.ROTATE_180,
    4: _Flip.FLIP_TOP_BOTTOM,
    5: _Flip.TRANSPOSE,
    6: _Flip.ROTATE_270,
    7: _Flip.TRANSVERSE,
    8: _Flip.ROTATE_90,
}
"""What brings an image with this EXIF orientation upright."""
_AS_STORED = _UPRIGHT | {6: _Flip.ROTATE_90, 8: _Flip.ROTATE_270}


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
    """Per channel in the file. More than `picture` may hold: Pillow reads 16-bit colour as 8-bit."""
    animated: bool = False
    """The file has more frames; `picture` is the first."""

    @property
    def size(self) -> Size:
        """Of `picture`: after orientation when it was asked for."""
        first = self.picture[0] if isinstance(self.picture, tuple) else self.picture
        return Size(*first.size)

    @property
    def channels(self) -> int:
        """Of `picture`."""
        return len(self.picture if isinstance(self.picture, tuple) else self.picture.getbands())


def decode(data: bytes, limits: Limits | None = None, orientation: Orientation = "exif") -> DecodedImage:
    """Decode one JPEG, PNG, WebP or TIFF file, or `.npy` array, which has no orientation.

    Raises:
        ImageError: `too_large` (bytes or pixels), `unsupported` (none of the formats) or `unreadable` (damaged).
    """
    limits = limits or Limits()
    if len(data) > limits.bytes:
        raise ImageError("too_large", f"the file has {len(data)} bytes; at most {limits.bytes} are taken")
    if data.startswith(npy.MAGIC_PREFIX):
        return _from_npy(data, limits)
    reader = _reader(data)
    try:
        image = reader(io.BytesIO(data))
    # Pillow's plugins raise nearly anything (struct.error, KeyError, SyntaxError, ...) for hostile headers.
    except Exception as error:
        raise _unreadable(error) from error
    if image.width * image.height > limits.pixels:
        raise ImageError(
            "too_large", f"the image is {image.width}x{image.height} pixels; at most {limits.pixels} pixels are taken"
        )
    bits = _bits(image)
    animated = bool(getattr(image, "is_animated", False))
    try:
        picture, found = _oriented(image, orientation)
    # As above, for hostile pixel data.
    except Exception as error:
        raise _unreadable(error) from error
    stored = Size(*picture.size)
    if orientation == "exif" and found > 4:
        stored = Size(stored.height, stored.width)
    return DecodedImage(picture, str(image.format), stored, found, bits, animated)


def stored_pixels(data: bytes) -> int:
    """Width x height that the header of a file gives; 0 when `decode` would not take it."""
    try:
        if data.startswith(npy.MAGIC_PREFIX):
            shape = _npy_header(io.BytesIO(data))[0]
            return int(shape[0] * shape[1])
        with _reader(data)(io.BytesIO(data)) as image:
            return image.width * image.height
    # As in `decode`: anything may be raised for hostile headers, and it says what is wrong.
    except Exception:  # noqa: BLE001 - the reason is above
        return 0


def from_array(pixels: NDArray[Any], format: str = "array") -> DecodedImage:
    """Pixels `[H, W]` or `[H, W, C]`, uint8 or uint16, as they are.

    Raises:
        ImageError: `unsupported` for another shape or type.
    """
    _check_array(pixels.shape, pixels.dtype)
    native = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("="))
    channels = 1 if native.ndim == 2 else native.shape[2]
    bits = 8 * native.dtype.itemsize
    picture: Image.Image | Planes
    if channels == 1:
        picture = Image.fromarray(native.reshape(native.shape[:2]))
    elif channels == 3 and bits == 8:
        picture = Image.fromarray(native)
    else:
        picture = tuple(Image.fromarray(np.ascontiguousarray(native[..., channel])) for channel in range(channels))
    return DecodedImage(picture, format, Size(native.shape[1], native.shape[0]), bits=bits)


def _from_npy(data: bytes, limits: Limits) -> DecodedImage:
    file = io.BytesIO(data)
    try:
        shape, dtype = _npy_header(file)
        _check_array(shape, dtype)
        if shape[0] * shape[1] > limits.pixels:
            raise ImageError(
                "too_large", f"the array is {shape[1]}x{shape[0]} pixels; at most {limits.pixels} pixels are taken"
            )
        file.seek(0)
        return from_array(npy.read_array(file, allow_pickle=False), "NPY")
    except ImageError:
        raise
    # NumPy's parser raises nearly anything (SyntaxError, tokenize's, UnicodeDecodeError, ...) for hostile headers.
    except Exception as error:
        raise _unreadable(error) from error


def _npy_header(file: io.BytesIO) -> tuple[tuple[int, ...], "np.dtype[Any]"]:
    version = npy.read_magic(file)
    read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = read_header(file)
    return shape, dtype


def _check_array(shape: tuple[int, ...], dtype: "np.dtype[Any]") -> None:
    if dtype.kind != "u" or dtype.itemsize > 2:
        message = f"an array of {dtype} has no known range: send uint8, or uint16 where the model takes 16 bits"
        raise ImageError("unsupported", message)
    if len(shape) not in (2, 3) or 0 in shape or shape[2:] > (MAX_CHANNELS,):
        expected = f"height, width and at most {MAX_CHANNELS} channels"
        raise ImageError("unsupported", f"an array of shape {list(shape)} is no image: expected {expected}")


def _reader(data: bytes) -> Callable[[io.BytesIO], ImageFile.ImageFile]:
    """Pillow's plugin by the first bytes.

    Not `Image.open`: it knows forty formats and judges size by a global of the process.
    """
    if data.startswith(b"\xff\xd8\xff"):
        return JpegImagePlugin.JpegImageFile
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return PngImagePlugin.PngImageFile
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return WebPImagePlugin.WebPImageFile
    if data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return TiffImagePlugin.TiffImageFile
    if not data:
        raise ImageError("unreadable", "the file is empty")
    listed = f"{', '.join(FORMATS)} or a NumPy array (.npy)"
    raise ImageError("unsupported", f"the bytes are no image that is read here: send {listed}")


def _oriented(image: ImageFile.ImageFile, orientation: Orientation) -> tuple[Image.Image, int]:
    """Load the pixels; return the picture as asked and the EXIF orientation found."""
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        # Pillow turns TIFF upright while loading, and forgets the tag.
        found = _lawful(image.tag_v2.get(_ORIENTATION_TAG))
        image.load()
        undo = _AS_STORED.get(found) if orientation == "ignore" else None
        return image if undo is None else image.transpose(undo), found
    image.load()
    found = _exif_orientation(image)
    turn = _UPRIGHT.get(found) if orientation == "exif" else None
    return image if turn is None else image.transpose(turn), found


def _exif_orientation(image: Image.Image) -> int:
    try:
        return _lawful(image.getexif().get(_ORIENTATION_TAG))
    # A damaged EXIF block says nothing about the pixels, which are fine: show the image as stored, as browsers do.
    except Exception:  # noqa: BLE001 - the reason is above
        return 1


def _lawful(value: object) -> int:
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _bits(image: ImageFile.ImageFile) -> int:
    """Bits per channel in the file, from the raw mode Pillow will decode with (`RGB;16B`) and the mode it gives."""
    if image.mode in ("I", "F"):
        return 32
    args = image.tile[0].args if image.tile else ""
    raw = args[0] if isinstance(args, tuple) and args else args
    return 16 if "16" in f"{image.mode} {raw}" else 8


def _unreadable(error: Exception) -> ImageError:
    return ImageError("unreadable", f"the image is damaged or incomplete: {str(error) or type(error).__name__}"[:300])
