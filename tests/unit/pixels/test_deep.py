"""16-bit colour PNGs are read to the last bit, whatever filters and interlacing they were written with."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from detco_core.contract.config import ViewsConfig
from detco_core.contract.errors import DataError, ImageError
from detco_core.data.channels import Facts, inspect, open_pixels
from detco_core.data.images import open_image
from detco_core.pixels.deep import deep_colors, read_deep, sixteen_bits
from tests.pngs import noise, write_png


def read(file: bytes, channels: int, bit_depth: int = 16) -> NDArray[np.generic]:
    views = ViewsConfig(channels=channels, bit_depth=16 if bit_depth == 16 else 8)
    found = open_pixels(BytesIO(file), None, views)
    return np.asarray(found)


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("channels", [2, 3, 4])
def test_every_bit_is_read(channels: int, interlaced: bool) -> None:
    stored = noise(channels)
    file = write_png(stored, interlaced=interlaced)
    assert inspect(BytesIO(file)) == Facts(23, 17, channels, 16)
    found = read(file, channels)
    assert found.dtype == np.uint16
    assert np.array_equal(found, stored)


def test_from_a_file_as_from_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(write_png(noise(3)))
    found = open_pixels(str(path), None, ViewsConfig(channels=3, bit_depth=16))
    assert np.array_equal(np.asarray(found), noise(3))


def test_alpha_is_dropped_where_grey_or_rgb_is_asked_for() -> None:
    assert np.array_equal(read(write_png(noise(4)), 3), noise(4)[:, :, :3])
    assert np.array_equal(read(write_png(noise(2)), 1), noise(2)[:, :, :1])
    assert np.array_equal(read(write_png(noise(2)), 3), np.repeat(noise(2)[:, :, :1], 3, axis=2))
    gray = noise(3).astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    assert np.array_equal(read(write_png(noise(3)), 1)[:, :, 0], np.rint(gray).astype(np.uint16))


def test_an_eight_bit_run_has_the_high_byte_as_ever() -> None:
    assert np.array_equal(read(write_png(noise(3)), 3, bit_depth=8), noise(3) >> 8)
    assert np.array_equal(read(write_png(noise(4)), 4, bit_depth=8), noise(4) >> 8)
    assert np.array_equal(np.asarray(open_image(BytesIO(write_png(noise(3))))), noise(3) >> 8)


def test_it_is_brought_upright() -> None:
    turned = read(write_png(noise(3), orientation=6), 3)
    assert np.array_equal(turned, np.rot90(noise(3), -1))


def test_half_a_file_is_broken() -> None:
    file = write_png(noise(3, 200, 200))
    with pytest.raises(DataError, match=r"truncated|broken|incomplete"):
        read(file[: len(file) // 2], 3)


def test_damage_to_the_pixels_is_broken_also_where_only_the_second_reading_would_see_it() -> None:
    file = bytearray(write_png(noise(3, 200, 200)))
    file[len(file) // 2 : len(file) // 2 + 40] = bytes(40)
    with pytest.raises(DataError, match=r"broken|truncated|incomplete"):
        read(bytes(file), 3)


def test_what_pillow_shows_whole_is_not_deep() -> None:
    assert [deep_colors(opened) for opened in map(shown, ("L", "RGB", "RGBA", "P", "I;16"))] == [None] * 5
    with pytest.raises(ValueError, match="not a file with 16-bit colour"):
        read_deep(shown("RGB"), BytesIO())


def shown(mode: str) -> Image.Image:
    file = BytesIO()
    Image.new(mode, (4, 3)).save(file, "PNG")
    return Image.open(file)


@pytest.mark.parametrize(("value", "fits"), [(0, True), (65_535, True), (65_536, False), (-1, False)])
def test_thirty_two_bits_are_sixteen_where_they_fit(value: int, fits: bool) -> None:
    image = Image.fromarray(np.full((3, 4), value, np.int32))
    if fits:
        assert np.array_equal(sixteen_bits(image), np.full((3, 4), value, np.uint16))
        return
    with pytest.raises(ImageError, match=r"outside 0\.\.65535") as caught:
        sixteen_bits(image)
    assert caught.value.code == "bit_depth"
