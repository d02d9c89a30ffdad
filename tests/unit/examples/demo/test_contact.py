from pathlib import Path

import numpy as np
from PIL import Image

from examples.demo.contact import draw_contact_sheet


def test_the_contact_sheet_shows_every_photo(tmp_path: Path) -> None:
    colors = [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
    for index, color in enumerate(colors):
        Image.new("RGB", (80, 40 + index), color).save(tmp_path / f"{index}.png")
    path = draw_contact_sheet(sorted(tmp_path.glob("*.png")), tmp_path / "out.png", "three photos")
    with Image.open(path) as image:
        pixels = {tuple(pixel) for pixel in np.asarray(image.convert("RGB")).reshape(-1, 3)}
    assert set(colors) <= pixels
