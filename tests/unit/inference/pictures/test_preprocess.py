"""Pixels to network input: against an independent one-expression reference, and geometry that maps back."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from detco_core.contract.errors import ImageError, InvalidDocument
from detco_core.contract.features import Resize, ResizeExact, ResizeShortSide
from detco_core.contract.manifest import InputSpec
from detco_core.contract.reader import FieldError, read
from detco_core.inference.pictures.images import DecodedImage, Size, decode
from detco_core.inference.pictures.preprocess import plan, prepare

Photo = Callable[..., Image.Image]
Encoded = Callable[..., bytes]

GRAY = InputSpec(channels=1, mean=(0.4,), std=(0.2,), color="gray")
GRAY16 = InputSpec(channels=1, mean=(0.4,), std=(0.2,), color="gray", bit_depth=16)
RAW4 = InputSpec(channels=4, mean=(0.1, 0.2, 0.3, 0.4), std=(0.5,) * 4, color="raw")


def of(picture: Image.Image, bits: int = 8) -> DecodedImage:
    return DecodedImage(picture, "PNG", Size(*picture.size), bits=bits)


def reference(picture: Image.Image, spec: InputSpec, size: tuple[int, int] | None = None) -> NDArray[np.float64]:
    """Resize, scale to 0..1, normalise and transpose, in float64."""
    if size is not None:
        picture = picture.resize(size, Image.Resampling.BILINEAR)
    pixels = np.asarray(picture, np.float64).reshape(picture.height, picture.width, -1) / (2**spec.bit_depth - 1)
    normal: NDArray[np.float64] = (pixels - np.asarray(spec.mean)) / np.asarray(spec.std)
    return normal.transpose(2, 0, 1)[None]


def test_without_resize_it_is_the_normalised_image(photo: Photo) -> None:
    prepared = prepare(of(photo()), InputSpec())
    assert prepared.array.dtype == np.float32
    assert prepared.array.flags.c_contiguous
    assert prepared.converted_from is None
    np.testing.assert_allclose(prepared.array, reference(photo(), InputSpec()), atol=2e-6)


@pytest.mark.parametrize(
    ("resize", "size"),
    [
        (ResizeShortSide(short_side=30), (48, 30)),
        (ResizeShortSide(short_side=30, max_side=40), (40, 25)),
        (ResizeShortSide(short_side=122), (194, 122)),
        (ResizeExact(height=20, width=50), (50, 20)),
        ("none", None),
    ],
)
def test_resizing_is_pillows_antialiased_bilinear(photo: Photo, resize: Resize, size: tuple[int, int] | None) -> None:
    prepared = prepare(of(photo()), InputSpec(), resize)
    np.testing.assert_allclose(prepared.array, reference(photo(), InputSpec(), size), atol=2e-6)
    assert prepared.geometry.resized == (size or (97, 61))


def test_the_manifest_says_the_default_size_and_a_request_overrules_it(photo: Photo) -> None:
    spec = InputSpec(short_side=32, max_side=64)
    assert prepare(of(photo()), spec).geometry.network == (51, 32)
    assert prepare(of(photo(500, 61)), spec).geometry.network == (64, 8)
    assert prepare(of(photo()), spec, "none").geometry.network == (97, 61)


def test_padding_is_zero_after_normalising_at_right_and_bottom(photo: Photo) -> None:
    spec = InputSpec(multiple=32)
    prepared = prepare(of(photo()), spec)
    assert prepared.array.shape == (1, 3, 64, 128)
    assert prepared.geometry.padding == (31, 3)
    assert not prepared.array[:, :, 61:].any()
    assert not prepared.array[:, :, :, 97:].any()
    np.testing.assert_allclose(prepared.array[:, :, :61, :97], reference(photo(), spec), atol=2e-6)
    assert prepared.geometry.cells(32) == (4, 2)


@pytest.mark.parametrize("mode", ["L", "P", "CMYK", "LA", "RGBA", "1"])
@pytest.mark.filterwarnings("error")
def test_other_colours_become_rgb_and_it_is_said(photo: Photo, encoded: Encoded, mode: str) -> None:
    picture = photo().convert(mode)
    prepared = prepare(decode(encoded(picture, "TIFF" if mode == "CMYK" else "PNG")), InputSpec())
    assert prepared.converted_from == mode
    np.testing.assert_allclose(prepared.array, reference(picture.convert("RGB"), InputSpec()), atol=2e-6)


def test_a_cmyk_jpeg_keeps_its_colours(photo: Photo, encoded: Encoded) -> None:
    prepared = prepare(decode(encoded(photo().convert("CMYK"), "JPEG", quality=95)), InputSpec())
    assert np.abs(prepared.array - reference(photo(), InputSpec())).mean() < 0.2


def test_alpha_is_dropped_not_blended(photo: Photo, encoded: Encoded) -> None:
    picture = photo().convert("RGBA")
    picture.putalpha(Image.linear_gradient("L").resize(picture.size))
    prepared = prepare(decode(encoded(picture)), InputSpec())
    np.testing.assert_allclose(prepared.array, reference(photo(), InputSpec()), atol=2e-6)


def test_a_palette_with_transparency_keeps_its_colours(photo: Photo, encoded: Encoded) -> None:
    picture = photo().quantize(8)
    data = encoded(picture, transparency=bytes([0, 128, 255, 255, 255, 255, 255, 255]))
    prepared = prepare(decode(data), InputSpec())
    np.testing.assert_allclose(prepared.array, reference(picture.convert("RGB"), InputSpec()), atol=2e-6)


def test_a_grey_model_takes_colour_by_luma(photo: Photo) -> None:
    prepared = prepare(of(photo()), GRAY)
    assert prepared.converted_from == "RGB"
    np.testing.assert_allclose(prepared.array, reference(photo().convert("L"), GRAY), atol=2e-6)


def test_sixteen_bits_into_a_sixteen_bit_model(encoded: Encoded) -> None:
    values = np.random.default_rng(0).integers(0, 65536, (40, 30)).astype(np.uint16)
    prepared = prepare(decode(encoded(Image.fromarray(values))), GRAY16)
    np.testing.assert_allclose(prepared.array[0, 0], (values / 65535 - 0.4) / 0.2, atol=2e-6)
    smaller = prepare(decode(encoded(Image.fromarray(values))), GRAY16, ResizeExact(height=20, width=15))
    expected = Image.fromarray(values.astype(np.float32)).resize((15, 20), Image.Resampling.BILINEAR)
    np.testing.assert_allclose(smaller.array[0, 0], (np.asarray(expected) / 65535 - 0.4) / 0.2, atol=1e-4)


@pytest.mark.parametrize(
    ("picture", "bits", "spec"),
    [
        (Image.new("I;16", (4, 4)), 16, InputSpec()),
        (Image.new("RGB", (4, 4)), 16, InputSpec()),  # what Pillow makes of 16-bit colour
        (Image.new("RGB", (4, 4)), 16, InputSpec(bit_depth=16)),
        (Image.new("RGB", (4, 4)), 8, InputSpec(bit_depth=16)),
        (Image.new("L", (4, 4)), 8, GRAY16),
        (Image.new("I", (4, 4)), 32, InputSpec()),
        (Image.new("F", (4, 4)), 32, GRAY),
    ],
)
def test_bits_per_channel_are_never_changed_silently(picture: Image.Image, bits: int, spec: InputSpec) -> None:
    with pytest.raises(ImageError) as caught:
        prepare(of(picture, bits), spec)
    assert caught.value.code == "bit_depth"
    assert "bit" in str(caught.value)


@pytest.mark.parametrize("mode", ["RGB", "P", "L", "1"])
def test_a_raw_model_takes_its_own_channel_count_only(mode: str) -> None:
    with pytest.raises(ImageError) as caught:
        prepare(of(Image.new(mode, (4, 4))), RAW4)
    assert caught.value.code == "channels"


def test_a_raw_model_gets_its_channels_as_they_are_also_resized() -> None:
    values = np.random.default_rng(1).integers(0, 256, (40, 30, 4)).astype(np.uint8)
    for mode in ("RGBA", "CMYK"):
        picture = Image.frombytes(mode, (30, 40), values.tobytes())
        np.testing.assert_allclose(prepare(of(picture), RAW4).array, reference(picture, RAW4), atol=2e-6)
        resized = prepare(of(picture), RAW4, ResizeExact(height=17, width=11)).array
        for channel in range(4):
            band = Image.fromarray(values[..., channel]).resize((11, 17), Image.Resampling.BILINEAR)
            expected = (np.asarray(band, np.float64) / 255 - RAW4.mean[channel]) / RAW4.std[channel]
            np.testing.assert_allclose(resized[0, channel], expected, atol=2e-6)


def test_a_colour_space_without_a_way_to_the_models_is_refused() -> None:
    with pytest.raises(ImageError) as caught:
        prepare(of(Image.new("LAB", (4, 4))), GRAY)
    assert caught.value.code == "channels"


@pytest.mark.parametrize("size", [(1, 60_000), (60_000, 1)])
def test_a_sliver_does_not_become_a_giant(size: tuple[int, int]) -> None:
    with pytest.raises(ImageError) as caught:
        prepare(of(Image.new("RGB", size)), InputSpec(short_side=800))
    assert caught.value.code == "too_large"
    assert "max_side" in str(caught.value)
    assert prepare(of(Image.new("RGB", size)), InputSpec(short_side=800, max_side=1333)).array.size == 3 * 1333


def test_the_network_input_is_bounded() -> None:
    assert prepare(of(Image.new("RGB", (10, 10))), InputSpec(), max_pixels=100).array.shape == (1, 3, 10, 10)
    with pytest.raises(ImageError):
        prepare(of(Image.new("RGB", (11, 10))), InputSpec(), max_pixels=100)


@given(
    size=st.tuples(st.integers(1, 5000), st.integers(1, 5000)),
    short=st.integers(1, 1500),
    longest=st.integers(0, 3000),
    multiple=st.sampled_from([1, 7, 32]),
    where=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_geometry_maps_there_and_back(
    size: tuple[int, int], short: int, longest: int, multiple: int, where: tuple[float, float]
) -> None:
    spec = InputSpec(short_side=short, max_side=short + longest, multiple=multiple)
    geometry = plan(DecodedImage(_Sized(size), "PNG", Size(*size)), spec)  # type: ignore[arg-type]  # sizes only
    width, height = geometry.resized
    assert 1 <= width <= short + longest
    assert 1 <= height <= short + longest
    assert min(width, height) <= short or min(size) == max(size)
    assert geometry.network == (-(-width // multiple) * multiple, -(-height // multiple) * multiple)
    point = where[0] * size[0], where[1] * size[1]
    x, y = geometry.to_network(*point)
    assert -1e-6 <= x <= width + 1e-6
    assert -1e-6 <= y <= height + 1e-6
    np.testing.assert_allclose(geometry.to_image(x, y), point, rtol=1e-9, atol=1e-6)
    # The aspect is kept to the pixel: rounding is all that differs.
    exact = min(short / min(size), (short + longest) / max(size))
    assert abs(width - max(1, size[0] * exact)) <= 0.5 + 1e-6
    assert abs(height - max(1, size[1] * exact)) <= 0.5 + 1e-6


class _Sized:
    """Stands for a picture where only its size is asked."""

    def __init__(self, size: tuple[int, int]) -> None:
        self.size = size


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"short_side": 800, "max_side": 1333}, ResizeShortSide(short_side=800, max_side=1333)),
        ({"short_side": 800}, ResizeShortSide(short_side=800)),
        ({"height": 5, "width": 6}, ResizeExact(height=5, width=6)),
        ("none", "none"),
    ],
)
def test_resize_reads_from_json(document: Any, expected: Resize) -> None:
    assert read(Resize, document) == expected  # type: ignore[arg-type]  # a union is no type to mypy


@pytest.mark.parametrize(
    "document",
    [{"short_side": 0}, {"height": 5}, {"short_side": 10**9}, {"short_side": 9, "max_side": 8}, "all", {}, 5],
)
def test_a_bad_resize_is_refused(document: Any) -> None:
    with pytest.raises(InvalidDocument):
        read(Resize, document)  # type: ignore[arg-type]  # a union is no type to mypy


def test_python_callers_are_told_too() -> None:
    with pytest.raises(FieldError, match="short_side"):
        ResizeShortSide(short_side=-1)
