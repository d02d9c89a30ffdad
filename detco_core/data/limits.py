"""The most one image of a data set may be, and the look at a file before any reader sees it."""

from io import BytesIO
from pathlib import Path

from detco_core.contract.errors import DataError, ImageError
from detco_core.pixels.bounds import MISREAD, check_file
from detco_core.pixels.stored import stored

MAX_PIXELS = 178_956_970
"""An image with more is refused by its header; twice Pillow's own warning level, above which Pillow opens nothing."""
MAX_ARRAY_BYTES = 2**30
"""So is an array with more bytes once it is decoded."""


def check(where: str | Path | BytesIO) -> bool:
    """Look at a file, on disk or in memory, before any reader does: as `check_file`.

    Returns:
        Whether Pillow may be asked; of one kind of TIFF it reads another place.

    Raises:
        DataError: with the reason alone, when it asks a reader for more than any picture needs, or cannot be read.
    """
    try:
        with stored(where) as data:
            check_file(data, MAX_PIXELS)
            return data[:4] != MISREAD
    except ImageError as error:
        raise DataError(str(error)) from error
    except OSError as error:
        raise DataError(error.strerror or str(error)) from error
