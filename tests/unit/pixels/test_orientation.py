"""EXIF orientation, beside Pillow's own turn."""

import numpy as np
import pytest
from PIL import Image, ImageOps

from detco_core.pixels.orientation import TAG, UPRIGHT, lawful


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_comes_upright_as_pillow_turns_it(orientation: int) -> None:
    image = Image.fromarray(np.arange(6, dtype=np.uint8).reshape(2, 3))
    image.getexif()[TAG] = orientation
    turn = UPRIGHT.get(orientation)
    turned = image if turn is None else image.transpose(turn)
    assert np.array_equal(np.asarray(turned), np.asarray(ImageOps.exif_transpose(image)))


@pytest.mark.parametrize(("given", "taken"), [(6, 6), (1, 1), (0, 1), (9, 1), (None, 1), ("6", 1), ((6, 6), 1)])
def test_what_is_no_orientation_is_upright(given: object, taken: int) -> None:
    assert lawful(given) == taken
