"""What a person hands in as a picture, as an image the model can be asked about: nothing is guessed."""

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from detco_core.contract.errors import ImageError
from detco_core.contract.features import Orientation
from detco_core.contract.manifest import InputSpec
from detco_core.inference.pictures.images import DecodedImage, Limits, Size, decode, from_array
from detco_core.pixels.deep import bits_of

Picture = bytes | bytearray | memoryview | str | os.PathLike[str] | Image.Image | NDArray[np.uint8] | NDArray[np.uint16]
"""An encoded image, the path of one, a Pillow image, or pixels `[H, W]` or `[H, W, C]`, uint8 or uint16."""


def open_picture(
    image: Picture, limits: Limits, orientation: Orientation, spec: InputSpec | None = None
) -> DecodedImage:
    """EXIF orientation applies to encoded images and paths, `limits` too; `spec` is that of the model it is for.

    Raises:
        ImageError: it cannot be read, and for a file its path; or it is nothing that is read as an image.
    """
    if isinstance(image, bytes | bytearray | memoryview):
        return decode(bytes(image), limits, orientation, spec)
    if isinstance(image, str | os.PathLike):
        return _from_file(Path(image), limits, orientation, spec)
    if isinstance(image, np.ndarray):
        return from_array(image)
    if isinstance(image, Image.Image):
        return _from_pillow(image)
    raise ImageError("unsupported", _no_picture(image))


def _from_file(path: Path, limits: Limits, orientation: Orientation, spec: InputSpec | None) -> DecodedImage:
    try:
        return decode(path.read_bytes(), limits, orientation, spec)
    except OSError as error:
        raise ImageError("unreadable", f"{path} cannot be read: {error.strerror}") from error
    except ImageError as error:
        raise ImageError(error.code, f"{path}: {error}") from error


def _from_pillow(image: Image.Image) -> DecodedImage:
    # Of 16-bit colour Pillow keeps 8, and says so only until it is loaded.
    bits = bits_of(image)
    try:
        image.load()
    # As for a file: Pillow opens without reading, and raises nearly anything for hostile pixel data.
    except Exception as error:
        raise ImageError("unreadable", f"the image is damaged or incomplete: {error}"[:300]) from error
    if not (image.width and image.height):
        raise ImageError("unsupported", f"an image of {image.width}x{image.height} pixels has none")
    if "transparency" in image.info:  # which is taken out where alpha is dropped: of the caller's own picture, it stays
        image = image.copy()
    return DecodedImage(image, image.format or "pixels", Size(*image.size), bits=bits)


def _no_picture(image: object) -> str:
    kind = type(image).__name__
    wanted = "a file's bytes, a path, a Pillow image, or an array [H, W] or [H, W, C] of uint8 or uint16"
    if not hasattr(image, "__array__"):
        return f"{kind} is no image: give {wanted}"
    return (
        f"{kind} is not read as an image, since nothing says which axis is which and what 1 stands for: give {wanted}; "
        "of a tensor [C, H, W] of 0..1, (255 * tensor).round().byte().permute(1, 2, 0).cpu().numpy()"
    )
