"""Pixels as a run asks for them: against NumPy and Pillow, for every count of channels and both depths."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from detco_core.contract.config import ViewsConfig
from detco_core.contract.errors import DataError
from detco_core.data.channels import Facts, inspect, open_pixels
from detco_core.data.images import open_image
from detco_core.data.synthetic import READABLE, photo
from detco_core.pixels.orientation import UPRIGHT

SCENE = photo(3, (60, 44))
DEEP = np.asarray(SCENE.convert("L")).astype(np.uint16) * 256 + np.arange(60, dtype=np.uint16)


def views(channels: int, bit_depth: int = 8) -> ViewsConfig:
    return ViewsConfig(channels=channels, bit_depth=16 if bit_depth == 16 else 8)


def encoded(image: Image.Image | NDArray[np.generic], name: str = "npy", **options: object) -> BytesIO:
    file = BytesIO()
    if isinstance(image, Image.Image):
        image.save(file, name, **options)
    elif name == "npy":
        np.save(file, image)
    else:
        pytest.importorskip("tifffile").imwrite(file, image, **options)
    return file


def pixels(where: BytesIO | str, config: ViewsConfig, short_side: int | None = None) -> NDArray[np.generic]:
    found = open_pixels(where, short_side, config)
    assert not isinstance(found, Image.Image)
    assert found.dtype == (np.uint16 if config.bit_depth == 16 else np.uint8)
    assert found.shape[2] == config.channels
    return found


def test_eight_bit_rgb_is_what_open_image_gives() -> None:
    where = encoded(SCENE, "JPEG")
    found = open_pixels(where, 20, views(3))
    assert isinstance(found, Image.Image)
    assert np.array_equal(np.asarray(found), np.asarray(open_image(where, 20)))


@pytest.mark.parametrize("mode", ["L", "RGB", "LA", "RGBA", "P", "1", "CMYK"])
def test_every_mode_of_pillow_becomes_grey(mode: str) -> None:
    image = SCENE.convert(mode)
    found = pixels(encoded(image, "TIFF" if mode == "CMYK" else "PNG"), views(1))
    assert np.array_equal(found[:, :, 0], np.asarray(image.convert("L")))


@pytest.mark.parametrize(("mode", "channels"), [("LA", 2), ("RGBA", 4), ("CMYK", 4)])
def test_other_counts_are_taken_as_they_are_stored(mode: str, channels: int) -> None:
    image = SCENE.convert(mode)
    found = pixels(encoded(image, "TIFF" if mode == "CMYK" else "PNG"), views(channels))
    assert np.array_equal(found, np.asarray(image))


@pytest.mark.parametrize("name", ["npy", "tiff"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("channels", [1, 2, 5, 8])
def test_arrays_keep_every_band_and_bit(name: str, dtype: str, channels: int) -> None:
    top = np.iinfo(dtype).max
    array = np.random.default_rng(0).integers(0, top, (40, 30, channels), dtype, endpoint=True)
    options = {} if name == "npy" else {"photometric": "minisblack", "planarconfig": "contig"}
    where = encoded(array, name, **options) if channels > 1 else encoded(array[:, :, 0], name)
    depth = 8 * array.dtype.itemsize
    assert inspect(where) == Facts(30, 40, channels, depth)
    assert np.array_equal(pixels(where, views(channels, depth)), array)
    half = pixels(where, views(channels, 8 if depth == 16 else 16))
    assert np.array_equal(half, array // 256 if depth == 16 else array.astype(np.uint16) * 257)


def test_grey_and_rgb_arrays_become_each_other() -> None:
    colour = np.asarray(SCENE)
    gray = pixels(encoded(colour), views(1))[:, :, 0].astype(int)
    assert np.abs(gray - np.asarray(SCENE.convert("L"))).max() <= 1
    assert np.array_equal(pixels(encoded(DEEP), views(3, 16)), np.repeat(DEEP[:, :, None], 3, axis=2))


@pytest.mark.parametrize("name", ["PNG", "TIFF"])
def test_sixteen_bit_grey_keeps_its_low_byte(name: str) -> None:
    where = encoded(Image.fromarray(DEEP), name)
    assert inspect(where) == Facts(60, 44, 1, 16)
    assert np.array_equal(pixels(where, views(1, 16))[:, :, 0], DEEP)
    assert np.array_equal(pixels(where, views(1))[:, :, 0], DEEP // 256)


def test_sixteen_bit_colour_is_kept_in_tiff_and_png(tmp_path: Path) -> None:
    deep = np.repeat(DEEP[:, :, None], 3, axis=2) + np.arange(3, dtype=np.uint16)
    where = encoded(deep, "tiff", photometric="rgb")
    assert inspect(where).bit_depth == 16
    assert np.array_equal(pixels(where, views(3, 16)), deep)
    assert np.array_equal(np.asarray(open_pixels(where, None, views(3))), deep // 256)
    READABLE["sixteen-bit-color.png"](SCENE, tmp_path / "a.png")
    assert inspect(str(tmp_path / "a.png")) == Facts(60, 44, 3, 16)
    assert pixels(str(tmp_path / "a.png"), views(3, 16)).max() > 255


def test_extra_bands_that_pillow_drops_are_counted_and_read() -> None:
    array = np.random.default_rng(0).integers(0, 255, (20, 30, 5), np.uint8)
    where = encoded(array, "tiff", photometric="rgb")
    assert np.array_equal(np.asarray(open_image(where)), array[:, :, :3])
    assert inspect(where).channels == 5
    assert np.array_equal(pixels(where, views(5)), array)


@pytest.mark.parametrize("channels", [2, 4, 6])
def test_a_count_that_is_not_stored_is_refused(channels: int) -> None:
    with pytest.raises(DataError, match=f"the image has 3 channels, and views.channels is {channels}"):
        open_pixels(encoded(SCENE, "PNG"), None, views(channels))


@pytest.mark.parametrize("short_side", [44, 22, 20, 15, 5, 1])
def test_arrays_are_reduced_by_the_mean_of_whole_blocks(short_side: int) -> None:
    array = np.random.default_rng(1).integers(0, 65_535, (44, 60, 4), np.uint16)
    found = pixels(encoded(array), views(4, 16), short_side)
    factor = 44 // short_side
    for y, x in ((0, 0), (44 // factor - 1, 60 // factor - 1), (3 % (44 // factor), 0)):
        block = array[y * factor : (y + 1) * factor, x * factor : (x + 1) * factor].astype(float)
        assert np.abs(found[y, x] - block.mean((0, 1))).max() <= 0.5
    assert found.shape[:2] == (44 // factor, 60 // factor)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_grey_and_deep_images_stand_upright(orientation: int) -> None:
    undo = {6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
    turn = undo.get(orientation, UPRIGHT.get(orientation))
    exif = Image.Exif()
    exif[274] = orientation
    for image, depth in ((SCENE.convert("L"), 8), (Image.fromarray(DEEP), 16)):
        stored = image if turn is None else image.transpose(turn)
        found = pixels(encoded(stored, "PNG", exif=exif), views(1, depth))
        assert np.array_equal(found[:, :, 0], np.asarray(image))
