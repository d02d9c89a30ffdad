"""Crops against torchvision's RandomResizedCrop and Pillow's resize."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms import RandomResizedCrop

from detco_core.data.synthetic import photo
from detco_core.views.crops import Box, central_crop, draw_crop, resized_crop

SIDES = st.integers(1, 4000)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(seed))


def largest_gap(a: list[float], b: list[float]) -> float:
    """Kolmogorov-Smirnov statistic of two samples."""
    points = np.sort(np.concatenate([a, b]))
    shares = [np.searchsorted(np.sort(sample), points, side="right") / len(sample) for sample in (a, b)]
    return float(np.abs(shares[0] - shares[1]).max())


@given(height=SIDES, width=SIDES, low=st.floats(0.01, 1.0), seed=st.integers(0, 2**32))
def test_box_lies_inside(height: int, width: int, low: float, seed: int) -> None:
    box = draw_crop(height, width, (low, 1.0), rng(seed))
    assert box.height >= 1
    assert box.width >= 1
    assert 0 <= box.top <= height - box.height
    assert 0 <= box.left <= width - box.width


@pytest.mark.parametrize(("height", "width"), [(300, 400), (400, 150), (224, 224)])
def test_boxes_are_distributed_as_torchvisions(height: int, width: int) -> None:
    draws, generator = 4000, rng(1)
    ours = [draw_crop(height, width, (0.2, 1.0), generator) for _ in range(draws)]
    torch.manual_seed(1)
    image = torch.zeros(3, height, width)
    theirs = [Box(*RandomResizedCrop.get_params(image, [0.2, 1.0], [3 / 4, 4 / 3])) for _ in range(draws)]
    facts: dict[str, Callable[[Box], float]] = {
        "area": lambda b: b.height * b.width,
        "aspect": lambda b: b.width / b.height,
        "top": lambda b: b.top,
        "left": lambda b: b.left,
    }
    # 1.95 * sqrt(2 / n) is the 0.1 % point of the statistic.
    for name, fact in facts.items():
        assert largest_gap([fact(b) for b in ours], [fact(b) for b in theirs]) < 1.95 * (2 / draws) ** 0.5, name


@pytest.mark.parametrize(("height", "width"), [(1, 20_000), (20_000, 1), (1, 1), (10, 300)])
def test_thin_images_give_the_central_crop_torchvision_gives(height: int, width: int) -> None:
    # A whole-image share fits no allowed aspect, so torchvision falls back, every time, to its central crop.
    theirs = RandomResizedCrop.get_params(torch.zeros(3, height, width), [1.0, 1.0], [3 / 4, 4 / 3])
    assert central_crop(height, width) == Box(*theirs)
    assert draw_crop(height, width, (1.0, 1.0), rng()) == Box(*theirs)


@pytest.mark.parametrize("box", [Box(0, 0, 300, 400), Box(17, 40, 90, 121), Box(250, 1, 37, 399), Box(299, 399, 1, 1)])
@pytest.mark.parametrize("size", [32, 224, 255])
def test_resized_crop_equals_pillows(box: Box, size: int) -> None:
    image = photo(5, (400, 300))
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)
    ours = resized_crop(pixels, box, size).permute(1, 2, 0).numpy().astype(int)
    corners = (box.left, box.top, box.left + box.width, box.top + box.height)
    theirs = np.asarray(image.crop(corners).resize((size, size), Image.Resampling.BILINEAR)).astype(int)
    assert ours.shape == (size, size, 3)
    assert np.abs(ours - theirs).max() <= 1
