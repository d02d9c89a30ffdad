"""Each file is opened by the reader that reads it right."""

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, UnidentifiedImageError
from tifffile import imwrite

from detco_core.contract.errors import DataError
from detco_core.data.channels import inspect
from detco_core.data.images import open_image
from detco_core.data.opening import opened


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize(("colors", "bands"), [("rgb", 3), ("rgb", 4), ("separated", 4)])
def test_planes_of_sixteen_bits_show_their_high_bytes(
    tmp_path: Path, colors: str, bands: int, orientation: int
) -> None:
    """Pillow takes them for planes of eight."""
    high = np.random.default_rng(0).integers(0, 256, (bands, 20, 30), np.uint16)
    turned: dict[str, Any] = {"extratags": [(274, "H", 1, orientation, True)]}
    if bands == 4 and colors == "rgb":
        turned["extrasamples"] = ["unassalpha"]
    imwrite(tmp_path / "a.tif", high * 256 + 7, photometric=colors, planarconfig="separate", **turned)
    stored = np.moveaxis(high.astype(np.uint8), 0, 2)
    shown = Image.merge("CMYK", [Image.fromarray(plane) for plane in np.moveaxis(stored, 2, 0)]) if bands == 4 else None
    expected = np.asarray(shown.convert("RGB")) if colors == "separated" and shown else stored[..., :3]
    found = open_image(tmp_path / "a.tif")
    assert np.array_equal(np.asarray(found), expected if orientation == 1 else np.rot90(expected, -1))
    (tmp_path / "a.tif").rename(tmp_path / "a.jpg")
    assert np.array_equal(np.asarray(open_image(tmp_path / "a.jpg")), np.asarray(found))
    with pytest.raises(DataError, match="misreads planes of 16 bits: name the file"):
        inspect(str(tmp_path / "a.jpg"))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(
    "how",
    [
        {"photometric": "rgb", "bigtiff": True, "byteorder": ">"},
        {"photometric": "minisblack", "planarconfig": "separate"},
        {"photometric": "minisblack", "planarconfig": "contig"},
    ],
    ids=["big-endian BigTIFF", "three planes", "three bands"],
)
def test_three_bands_that_pillow_does_not_read_are_rgb(how: dict[str, Any], dtype: type) -> None:
    """As the scan counts them, and serving reads them."""
    high = np.random.default_rng(1).integers(0, 256, (20, 30, 3), np.uint8)
    stored = high if dtype == np.uint8 else high.astype(np.uint16) * 256 + 9
    file = BytesIO()
    imwrite(file, np.moveaxis(stored, 2, 0) if how.get("planarconfig") == "separate" else stored, **how)
    assert inspect(file)[:3] == (30, 20, 3)
    assert np.array_equal(np.asarray(open_image(file)), high)


def test_more_bands_make_no_rgb_image() -> None:
    file = BytesIO()
    imwrite(file, np.zeros((20, 30, 6), np.uint8), photometric="minisblack", planarconfig="contig")
    with pytest.raises(DataError, match="6 channels make no RGB image: set"):
        open_image(file)


def test_what_no_reader_knows_is_named() -> None:
    with pytest.raises(DataError, match="not an image in a supported format") as caught, opened(BytesIO(b"text")):
        pass
    assert isinstance(caught.value.__cause__, UnidentifiedImageError)
