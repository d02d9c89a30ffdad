from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from examples.demo import pictures, style
from examples.demo.pictures import Compared


@pytest.fixture(autouse=True)
def _coarse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(style, "DPI", 50)


@pytest.fixture
def compared() -> Compared:
    rng = np.random.default_rng(0)
    sizes = {"res2": (8, 24, 16), "res5": (16, 3, 2)}
    after, before = ({level: rng.random(size) for level, size in sizes.items()} for _ in range(2))
    photo = Image.new("RGB", (64, 96), (200, 40, 40))
    return Compared(photo, after, before, {"res2": 4, "res5": 32}, ("after", "before"))


def looks_like_a_picture(path: Path) -> bool:
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB"))
    return min(image.size) > 150 and len(np.unique(pixels.reshape(-1, 3), axis=0)) > 20


def test_features_and_similarity_are_drawn(compared: Compared, tmp_path: Path) -> None:
    assert looks_like_a_picture(pictures.draw_features(compared, tmp_path / "new" / "features.png"))
    assert looks_like_a_picture(pictures.draw_similarity(compared, (0.5, 0.1), tmp_path / "similarity.png"))
