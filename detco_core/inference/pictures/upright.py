"""Loads the pixels of an opened image and brings them upright, or leaves them as they are stored."""

import io

from PIL import Image, ImageFile, TiffImagePlugin

from detco_core.contract.features import Orientation
from detco_core.inference.pictures.arrays import Planes
from detco_core.pixels.deep import deep_colors, read_deep
from detco_core.pixels.orientation import TAG, UPRIGHT, lawful

_AS_STORED = UPRIGHT | {6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}


def oriented(
    image: ImageFile.ImageFile, data: bytes, orientation: Orientation, *, whole: bool
) -> tuple[Image.Image | Planes, int]:
    """Load the pixels of a file; return the picture as asked and the EXIF orientation found.

    `whole`: all bits of 16-bit colour.
    """
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        # Pillow turns TIFF upright while loading, and forgets the tag.
        found = lawful(image.tag_v2.get(TAG))
        picture = _loaded(image, data, whole=whole)
        return turned(picture, _AS_STORED.get(found) if orientation == "ignore" else None), found
    picture = _loaded(image, data, whole=whole)
    found = _exif_orientation(image)
    return turned(picture, UPRIGHT.get(found) if orientation == "exif" else None), found


def _loaded(image: ImageFile.ImageFile, data: bytes, *, whole: bool) -> Image.Image | Planes:
    if whole and deep_colors(image) is not None:
        return tuple(Image.fromarray(plane) for plane in read_deep(image, io.BytesIO(data)))
    image.load()
    return image


def turned(picture: Image.Image | Planes, turn: Image.Transpose | None) -> Image.Image | Planes:
    """The same turned; `turn` None: as it is."""
    if turn is None:
        return picture
    if isinstance(picture, tuple):
        return tuple(plane.transpose(turn) for plane in picture)
    return picture.transpose(turn)


def _exif_orientation(image: Image.Image) -> int:
    try:
        return lawful(image.getexif().get(TAG))
    # A damaged EXIF block says nothing about the pixels, which are fine: show the image as stored, as browsers do.
    except Exception:  # noqa: BLE001 - the reason is above
        return 1
