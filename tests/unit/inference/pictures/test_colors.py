"""Colours of 16-bit pictures and of arrays as a model takes them: what is done is said, what cannot be is refused."""

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from tifffile import imwrite

from detco_core.contract.errors import ImageError
from detco_core.contract.manifest import InputSpec
from detco_core.inference.pictures.colors import in_colors_of
from detco_core.inference.pictures.images import DecodedImage, Size, decode, from_array
from detco_core.pixels.colors import gray_of
from tests.pngs import noise, write_png

RGB16 = InputSpec(bit_depth=16)
GRAY16 = InputSpec(channels=1, mean=(0.4,), std=(0.2,), color="gray", bit_depth=16)
GRAY = InputSpec(channels=1, mean=(0.4,), std=(0.2,), color="gray")
FOUR16 = InputSpec(channels=4, mean=(0.4,) * 4, std=(0.2,) * 4, color="raw", bit_depth=16)


def seen(file: bytes | DecodedImage, spec: InputSpec) -> tuple[NDArray[np.uint16], str | None]:
    picture, said = in_colors_of(decode(file, spec=spec) if isinstance(file, bytes) else file, spec)
    assert isinstance(picture, tuple)
    return np.stack([np.asarray(plane) for plane in picture], axis=2), said


@pytest.mark.parametrize(
    ("channels", "spec", "said"),
    [
        (1, GRAY16, None),
        (2, GRAY16, "LA;16"),
        (3, GRAY16, "RGB;16"),
        (4, GRAY16, "RGBA;16"),
        (1, RGB16, "I;16"),
        (2, RGB16, "LA;16"),
        (3, RGB16, None),
        (4, RGB16, "RGBA;16"),
        (4, FOUR16, None),
    ],
)
def test_what_is_done_to_sixteen_bits_is_said(channels: int, spec: InputSpec, said: str | None) -> None:
    stored = noise(channels)
    opaque = stored[..., : channels - 1] if channels in (2, 4) and spec.color != "raw" else stored
    expected = np.repeat(opaque, 3, axis=2) if opaque.shape[2] == 1 and spec.channels == 3 else opaque
    if opaque.shape[2] == 3 and spec.channels == 1:
        expected = np.rint(opaque @ np.array([0.299, 0.587, 0.114]))[..., None]
    found, words = seen(write_png(stored), spec)
    assert words == said
    assert np.abs(found.astype(int) - expected.astype(int)).max() <= (1 if said == "RGB;16" else 0)


def test_a_thirty_two_bit_grey_is_taken_where_sixteen_hold_it() -> None:
    values = noise(1)[..., 0].astype(np.int32)
    found, said = seen(DecodedImage(Image.fromarray(values), "TIFF", Size(23, 17), bits=32), GRAY16)
    assert (found[..., 0].tolist(), said) == (values.tolist(), "I")
    with pytest.raises(ImageError, match="no known range"):
        seen(DecodedImage(Image.fromarray(values * 9), "TIFF", Size(23, 17), bits=32), GRAY16)


def test_an_array_becomes_grey_by_trainings_luma_not_by_pillows() -> None:
    pixels = (noise(3, 200, 200) >> 8).astype(np.uint8)
    found, said = seen(from_array(pixels), GRAY)
    assert said == "RGB"
    assert np.array_equal(found[..., 0], gray_of(pixels))
    assert not np.array_equal(found[..., 0], np.asarray(Image.fromarray(pixels).convert("L")))


@pytest.mark.parametrize(("channels", "spec"), [(2, FOUR16), (3, FOUR16), (1, FOUR16)])
def test_a_raw_model_of_sixteen_bits_takes_its_own_count_only(channels: int, spec: InputSpec) -> None:
    with pytest.raises(ImageError, match="the model takes 4 channels as they are, the image has") as caught:
        seen(write_png(noise(channels)), spec)
    assert caught.value.code == "channels"


def test_cmyk_of_sixteen_bits_has_no_way_to_rgb() -> None:
    file = io.BytesIO()
    imwrite(file, noise(4), photometric="separated")
    with pytest.raises(ImageError, match="16-bit CMYK has no one way to RGB or grey: convert") as caught:
        seen(file.getvalue(), RGB16)
    assert caught.value.code == "channels"
    assert np.array_equal(seen(file.getvalue(), FOUR16)[0], noise(4))


def test_a_band_that_is_no_alpha_is_said_to_be_dropped() -> None:
    file = io.BytesIO()
    bands = (noise(4) >> 8).astype(np.uint8)
    imwrite(file, bands, photometric="rgb", extrasamples=["unspecified"])
    picture, said = in_colors_of(decode(file.getvalue(), spec=InputSpec()), InputSpec())
    assert said == "RGBX"
    assert np.array_equal(np.asarray(picture), bands[..., :3])


@pytest.mark.parametrize(
    ("bits", "spec", "words"),
    [
        (8, RGB16, "training has an 8-bit file's values times 257.*convert it to 16 bits"),
        (16, InputSpec(), "which part of the range matters is yours to say; convert it to 8 bits"),
        (16, RGB16, "send the file's bytes or path"),
    ],
)
def test_the_remedy_fits_the_fault(bits: int, spec: InputSpec, words: str) -> None:
    with pytest.raises(ImageError, match=words) as caught:
        in_colors_of(DecodedImage(Image.new("RGB", (4, 4)), "PNG", Size(4, 4), bits=bits), spec)
    assert caught.value.code == "bit_depth"
