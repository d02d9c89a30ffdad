"""Which of Pillow's readers a file is for."""

import io
from collections.abc import Callable

from PIL import ImageFile, JpegImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin

from detco_core.contract.errors import ImageError
from detco_core.pixels.bounds import JPEG, PNG

FORMATS = ("JPEG", "PNG", "WebP", "TIFF")

Reader = Callable[[io.BytesIO], ImageFile.ImageFile]


def reader_of(data: bytes) -> Reader:
    """Pillow's plugin by the first bytes.

    Not `Image.open`: it knows forty formats and judges size by a global of the process.

    Raises:
        ImageError: `unsupported` for any other format; `unreadable` for an empty file.
    """
    if data.startswith(JPEG):
        return JpegImagePlugin.JpegImageFile
    if data.startswith(PNG):
        return PngImagePlugin.PngImageFile
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return WebPImagePlugin.WebPImageFile
    if data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return TiffImagePlugin.TiffImageFile
    if not data:
        raise ImageError("unreadable", "the file is empty")
    listed = f"{', '.join(FORMATS)} or a NumPy array (.npy)"
    raise ImageError("unsupported", f"the bytes are no image that is read here: send {listed}")
