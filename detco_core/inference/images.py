"""Turns the bytes of one image file into pixels, bounded before anything is decoded.

The header is read first; bytes and pixels over the limits are refused without decoding. What only the model can judge
(channels, bits per channel) is reported here and decided in `preprocess`.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

from PIL import Image, ImageFile, JpegImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin

from detco_core.contract.errors import ImageError

Orientation = Literal["exif", "ignore"]

FORMATS = ("JPEG", "PNG", "WebP", "TIFF")

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

    picture: Image.Image
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
        return Size(*self.picture.size)


def decode(data: bytes, limits: Limits | None = None, orientation: Orientation = "exif") -> DecodedImage:
    """Decode one JPEG, PNG, WebP or TIFF file.

    Raises:
        ImageError: `too_large` (bytes or pixels), `unsupported` (none of the formats) or `unreadable` (damaged).
    """
    limits = limits or Limits()
    if len(data) > limits.bytes:
        raise ImageError("too_large", f"the file has {len(data)} bytes; at most {limits.bytes} are taken")
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
    listed = f"{', '.join(FORMATS[:-1])} or {FORMATS[-1]}"
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
