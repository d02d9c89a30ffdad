"""Which of Pillow's readers a file is for, and what no reader shall be given."""

import io
from collections.abc import Callable

from PIL import ImageFile, JpegImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin

from detco_core.contract.errors import ImageError
from detco_core.inference.pieces import MAX_PIECES, has_too_many, jpeg_pieces, png_pieces
from detco_core.inference.scans import MAX_SCANS, scans

FORMATS = ("JPEG", "PNG", "WebP", "TIFF")

Reader = Callable[[io.BytesIO], ImageFile.ImageFile]


def reader_of(data: bytes) -> Reader:
    """Pillow's plugin by the first bytes.

    Not `Image.open`: it knows forty formats and judges size by a global of the process.

    Raises:
        ImageError: `unsupported` for any other format; `unreadable` for an empty file, and one that would keep its
            reader busy for nothing.
    """
    if data.startswith(b"\xff\xd8\xff"):
        _check_pieces(data, jpeg_pieces)
        if scans(data) > MAX_SCANS:
            raise ImageError("unreadable", f"the JPEG has more than {MAX_SCANS} scans, which no encoder writes")
        return JpegImagePlugin.JpegImageFile
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        _check_pieces(data, png_pieces)
        return PngImagePlugin.PngImageFile
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return WebPImagePlugin.WebPImageFile
    if data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return TiffImagePlugin.TiffImageFile
    if not data:
        raise ImageError("unreadable", "the file is empty")
    listed = f"{', '.join(FORMATS)} or a NumPy array (.npy)"
    raise ImageError("unsupported", f"the bytes are no image that is read here: send {listed}")


def _check_pieces(data: bytes, count: Callable[[bytes], int]) -> None:
    if has_too_many(data, count):
        raise ImageError("unreadable", f"the file is in more than {MAX_PIECES} pieces, as no encoder writes it")
