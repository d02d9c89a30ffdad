"""Made-up photos: the same every time, no two alike, and with classes that can be told apart."""

import math
from pathlib import Path

import numpy as np
from PIL import Image

from detco_core.data.images import open_image
from detco_core.data.synthetic import broken_files, photo, write_labelled, write_photos


def colours(image: Image.Image) -> list[float]:
    """Shares of 64 colours."""
    red, green, blue = (np.asarray(image).astype(int) // 64).reshape(-1, 3).T
    counts = np.bincount(16 * red + 4 * green + blue, minlength=64)
    return [float(count) / red.size for count in counts]


def test_photos_are_a_function_of_their_seed() -> None:
    assert photo(5) == photo(5)
    assert photo(5) != photo(6)
    assert photo(5, (70, 40)).size == (70, 40)
    assert photo(5, label=1) != photo(5, label=2)


def test_photos_have_texture_everywhere_and_colour() -> None:
    for seed in range(10):
        values = np.asarray(photo(seed)).astype(float)
        cells = values.reshape(6, 40, 8, 40, 3)
        assert cells.std(axis=(1, 3)).min() > 1.5
        assert values.std() > 15


def test_writers_write_what_they_say(tmp_path: Path) -> None:
    paths = write_photos(tmp_path / "photos", 4, (60, 40))
    assert [path.name for path in paths] == [f"photo-000{n}.jpg" for n in range(4)]
    sizes = [open_image(path).size for path in paths]
    assert sizes == [(40, 60), (60, 40), (60, 40), (40, 60)]
    assert write_labelled(tmp_path / "labelled", 2, 3, (32, 32)) == ["class-0", "class-1"]
    assert len(list((tmp_path / "labelled").glob("*/class-?/*.jpg"))) == 12
    odd = broken_files(tmp_path / "odd")
    assert {path.name for path in (tmp_path / "odd").iterdir()} == {*odd.readable, *odd.broken}


def test_classes_can_be_told_apart_by_colour(tmp_path: Path) -> None:
    names = write_labelled(tmp_path, 4, 6, (64, 64))
    train = [(colours(open_image(path)), path.parent.name) for path in sorted(tmp_path.glob("train/*/*.jpg"))]
    right = 0
    for path in tmp_path.glob("val/*/*.jpg"):
        distances = [(math.dist(colours(open_image(path)), histogram), name) for histogram, name in train]
        right += min(distances)[1] == path.parent.name
    assert right / 24 > 2 / len(names)
