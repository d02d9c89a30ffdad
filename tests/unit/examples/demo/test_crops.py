import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from examples.demo.crops import CROPS, Crop, cut_crops, plan_crops


def share_a_pixel(a: Crop, b: Crop) -> bool:
    (left, top, right, bottom), (other_left, other_top, other_right, other_bottom) = a.box, b.box
    return max(left, other_left) < min(right, other_right) and max(top, other_top) < min(bottom, other_bottom)


@given(st.integers(2, 4000), st.integers(2, 4000), st.integers(0, 10**6))
def test_no_train_crop_shares_a_pixel_with_a_val_crop(width: int, height: int, seed: int) -> None:
    planned = plan_crops(width, height, random.Random(seed))
    train = [crop for crop in planned if crop.split == "train"]
    val = [crop for crop in planned if crop.split == "val"]
    assert len(train) == len(val) == CROPS
    assert not any(share_a_pixel(a, b) for a in train for b in val)
    for crop in planned:
        left, top, right, bottom = crop.box
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height
        assert right - left == bottom - top


def test_what_overlaps_would_be_found() -> None:
    crop = Crop("train", (0, 0, 10, 10))
    assert share_a_pixel(crop, Crop("val", (9, 9, 20, 20)))
    assert not share_a_pixel(crop, Crop("val", (10, 0, 20, 10)))


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    """Left half red, right half blue; one of them upright, one of them no picture at all."""
    paths = [tmp_path / f"{name}.png" for name in ("a", "b", "upright", "broken")]
    for path in paths[:3]:
        image = Image.new("RGB", (200, 120), (255, 0, 0))
        image.paste((0, 0, 255), (100, 0, 200, 120))
        (image.rotate(-90, expand=True) if path.stem == "upright" else image).save(path)
    paths[3].write_bytes(b"no picture")
    return paths


def test_the_files_hold_what_was_planned(photos: list[Path], tmp_path: Path) -> None:
    (tmp_path / "out" / "train" / "old").mkdir(parents=True)
    assert cut_crops(photos, tmp_path / "out") == 3
    for split, color in (("train", (255, 0, 0)), ("val", (0, 0, 255))):
        classes = sorted(path.name for path in (tmp_path / "out" / split).iterdir())
        assert classes == ["00-a", "01-b", "02-upright"]
        for path in (tmp_path / "out" / split).rglob("*.jpg"):
            with Image.open(path) as image:
                mean = image.resize((1, 1)).getpixel((0, 0))
            assert isinstance(mean, tuple)
            assert all(abs(a - b) < 12 for a, b in zip(mean, color, strict=True)), path


def test_the_same_photos_give_the_same_crops(photos: list[Path], tmp_path: Path) -> None:
    found = []
    for name in ("one", "two"):
        cut_crops(photos, tmp_path / name)
        found.append({p.relative_to(tmp_path / name): p.read_bytes() for p in (tmp_path / name).rglob("*.jpg")})
    assert found[0] == found[1]
