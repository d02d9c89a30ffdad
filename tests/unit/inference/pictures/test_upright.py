"""Pictures brought upright by their EXIF orientation, or left as they are stored."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from detco_core.inference.pictures.images import decode
from tests.pngs import noise, write_png

Photo = Callable[..., Image.Image]
Encoded = Callable[..., bytes]


@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_or_left_alone(
    photo: Photo, encoded: Encoded, format: str, orientation: int
) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    exactly: dict[str, dict[str, Any]] = {"WEBP": {"lossless": True}, "JPEG": {"quality": 100, "subsampling": 0}}
    options = exactly.get(format, {})
    data = encoded(photo(), format, exif=exif, **options)
    stored = decode(data, orientation="ignore")
    upright = decode(data)
    assert stored.orientation == upright.orientation == orientation
    assert stored.stored == upright.stored == stored.size == (97, 61)
    assert upright.size == ((61, 97) if orientation > 4 else (97, 61))
    as_pillow_does = photo()
    as_pillow_does.getexif()[274] = orientation
    expected = ImageOps.exif_transpose(as_pillow_does)
    tolerance = 12 if format == "JPEG" else 0
    np.testing.assert_allclose(np.asarray(upright.picture, int), np.asarray(expected, int), atol=tolerance)
    np.testing.assert_allclose(np.asarray(stored.picture, int), np.asarray(photo(), int), atol=tolerance)


def test_an_unlawful_orientation_is_none(photo: Photo, encoded: Encoded) -> None:
    exif = Image.Exif()
    exif[274] = 9
    assert decode(encoded(photo(), "JPEG", exif=exif)).orientation == 1


def test_damaged_exif_leaves_the_pixels(photo: Photo, encoded: Encoded) -> None:
    exif = Image.Exif()
    exif[274] = 6
    data = bytearray(encoded(photo(), "JPEG", exif=exif))
    at = data.index(b"Exif\0\0") + 6
    data[at : at + 4] = b"\xff\xff\xff\xff"
    decoded = decode(bytes(data))
    assert (decoded.size, decoded.orientation) == ((97, 61), 1)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_deep_pictures_are_turned_as_others(photo: Photo, encoded: Encoded, orientation: int) -> None:
    stored = noise(3)
    file = write_png(stored, orientation=orientation)
    left = decode(file, orientation="ignore")
    assert isinstance(left.picture, tuple)
    np.testing.assert_array_equal(np.stack([np.asarray(plane) for plane in left.picture], axis=2), stored)
    upright = decode(file)
    assert isinstance(upright.picture, tuple)
    assert (left.stored, upright.stored, upright.orientation) == ((23, 17), (23, 17), orientation)
    for channel, plane in enumerate(upright.picture):
        picture = Image.fromarray(stored[..., channel])
        picture.getexif()[274] = orientation
        np.testing.assert_array_equal(np.asarray(plane), np.asarray(ImageOps.exif_transpose(picture)))
