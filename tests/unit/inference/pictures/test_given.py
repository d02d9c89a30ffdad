"""What a person may hand in as a picture, and what is said of everything else."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from detco_core.contract.errors import ImageError
from detco_core.contract.manifest import InputSpec
from detco_core.inference.pictures.given import open_picture
from detco_core.inference.pictures.images import Limits
from detco_core.inference.pictures.preprocess import prepare
from tests.pngs import noise, write_png


def refusal(image: Any) -> tuple[str, str]:
    """Code and words."""
    with pytest.raises(ImageError) as found:
        open_picture(image, Limits(), "exif")
    return found.value.code, str(found.value)


@pytest.mark.parametrize(
    "image",
    [None, 3, [[0, 1]], (255, 0, 0), io.BytesIO(b"x"), (byte for byte in b"x")],
    ids=lambda image: str(type(image)),
)
def test_what_is_no_picture_is_told_what_is(image: Any) -> None:
    code, words = refusal(image)
    assert code == "unsupported"
    assert f"{type(image).__name__} is no image: give a file's bytes, a path" in words


def test_a_tensor_is_not_guessed_at() -> None:
    """Axes and range are the caller's to say, and the words of the message do it."""
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    tensor = torch.from_numpy(pixels).permute(2, 0, 1) / 255
    code, words = refusal(tensor)
    assert (code, words.startswith("Tensor is not read as an image")) == ("unsupported", True)
    given = eval(words.partition("of 0..1, ")[2], {"tensor": tensor})  # noqa: S307 - the message's own words
    planes = open_picture(given, Limits(), "exif").picture
    assert isinstance(planes, tuple)
    np.testing.assert_array_equal(np.stack([np.asarray(plane) for plane in planes], axis=2), pixels)


def test_errors_name_the_file(tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("no picture")
    assert refusal(str(tmp_path / "text.jpg"))[1].startswith(f"{tmp_path / 'text.jpg'}: the bytes are no image")
    assert refusal(tmp_path / "gone.jpg") == (
        "unreadable",
        f"{tmp_path / 'gone.jpg'} cannot be read: No such file or directory",
    )
    assert "Is a directory" in refusal(tmp_path)[1]


def test_a_pillow_image_is_read_before_it_is_believed(
    photo: Callable[..., Image.Image], encoded: Callable[..., bytes]
) -> None:
    half = encoded(photo(), "JPEG")[:2000]
    assert refusal(Image.open(io.BytesIO(half))) == refusal(half)
    assert refusal(Image.new("RGB", (0, 0))) == ("unsupported", "an image of 0x0 pixels has none")


def test_the_callers_picture_is_left_as_it_was(photo: Callable[..., Image.Image]) -> None:
    picture = photo().convert("P")
    picture.info["transparency"] = 0
    opened = open_picture(picture, Limits(), "exif").picture
    assert isinstance(opened, Image.Image)
    del opened.info["transparency"]
    assert picture.info == {"transparency": 0}


def test_a_deep_pillow_image_is_known_before_pillow_cuts_it() -> None:
    file = write_png(noise(3))
    for spec, words in (
        (InputSpec(), "convert it to 8 bits"),
        (InputSpec(bit_depth=16), "send the file's bytes or path"),
    ):
        with pytest.raises(ImageError, match=words) as caught:
            prepare(open_picture(Image.open(io.BytesIO(file)), Limits(), "exif"), spec)
        assert caught.value.code == "bit_depth"
    deep = InputSpec(bit_depth=16)
    of_bytes = prepare(open_picture(file, Limits(), "exif", deep), deep).array
    np.testing.assert_array_equal(of_bytes, prepare(open_picture(noise(3), Limits(), "exif", deep), deep).array)
