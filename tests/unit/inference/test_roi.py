"""ROI-align against torchvision's, and against a loop over samples in float64; placing and assigning of boxes."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torchvision.ops import roi_align as theirs
from torchvision.ops.poolers import LevelMapper

from detco_core.contract.errors import ImageError
from detco_core.contract.manifest import Level
from detco_core.inference.pictures.images import Size
from detco_core.inference.pictures.preprocess import Geometry
from detco_core.inference.roi import SAMPLES, Regions, assign, place, roi_align

LEVELS = tuple(Level(name=f"p{n}", channels=2, stride=2**n) for n in range(2, 6))


def slow(feature: NDArray[np.float32], box: NDArray[np.float64], stride: int, size: int) -> NDArray[np.float64]:
    """The definition: the mean of bilinear samples, each of four cells."""
    channels, height, width = feature.shape[1:]
    x1, y1, x2, y2 = box / stride - 0.5
    out = np.zeros((channels, size, size))
    for row, column, i, j in np.ndindex(size, size, SAMPLES, SAMPLES):
        y = y1 + (row + (i + 0.5) / SAMPLES) * (y2 - y1) / size
        x = x1 + (column + (j + 0.5) / SAMPLES) * (x2 - x1) / size
        y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
        top, left = math.floor(y), math.floor(x)
        for cell_y, share_y in ((top, 1 - (y - top)), (top + 1, y - top)):
            for cell_x, share_x in ((left, 1 - (x - left)), (left + 1, x - left)):
                if share_y * share_x:
                    out[:, row, column] += share_y * share_x * feature[0, :, cell_y, cell_x].astype(np.float64)
    return out / SAMPLES**2


@given(
    corners=st.lists(st.tuples(*[st.floats(0, 1)] * 4), min_size=0, max_size=4),
    size=st.sampled_from([1, 3, 7]),
    stride=st.sampled_from([4, 32]),
    height=st.integers(1, 70),
    width=st.integers(1, 70),
)
def test_equals_torchvision_and_the_definition(
    corners: list[tuple[float, ...]], size: int, stride: int, height: int, width: int
) -> None:
    maps = np.random.default_rng(0).standard_normal((1, 2, -(-height // stride), -(-width // stride)))
    feature = maps.astype(np.float32)
    ends = np.array(corners, np.float64).reshape(-1, 4) * [width, height, width, height]
    boxes = np.column_stack([np.minimum(ends[:, :2], ends[:, 2:]), np.maximum(ends[:, :2], ends[:, 2:])])
    found = roi_align(feature, Regions(boxes), stride, size)
    assert found.shape == (len(boxes), 2, size, size)
    assert found.dtype == np.float32
    for box, grid in zip(boxes, found, strict=True):
        np.testing.assert_allclose(grid, slow(feature, box, stride, size), atol=1e-5)
    expected = theirs(
        torch.from_numpy(feature), [torch.from_numpy(boxes).float()], size, 1 / stride, SAMPLES, aligned=True
    )
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-4)


@pytest.mark.parametrize("size", [1, 2, 7])
def test_of_a_large_box_only_what_samples_lie_between_is_read(size: int) -> None:
    feature = np.random.default_rng(0).standard_normal((1, 3, 130, 400)).astype(np.float32)
    boxes = np.array([(0, 0, 1600, 520), (3.3, 4.4, 1590, 100), (0, 1, 50, 519), (7, 7, 9, 9)], np.float64)
    expected = theirs(torch.from_numpy(feature), [torch.from_numpy(boxes).float()], size, 1 / 4, SAMPLES, aligned=True)
    np.testing.assert_allclose(roi_align(feature, Regions(boxes), 4, size), expected.numpy(), atol=1e-4)
    # What no sample touches may be anything.
    feature[:, :, 65, 200] = np.nan
    assert np.isfinite(roi_align(feature, Regions(boxes[:1]), 4, size)).all()


def test_boxes_are_scaled_with_the_image_and_cut_to_it() -> None:
    geometry = Geometry(Size(100, 50), Size(100, 50), Size(200, 150), Size(224, 160))
    regions = place([(10, 5, 20, 25), (-5, 0, 100, 60), (0, 0, 100, 50)], geometry)
    assert regions.boxes.tolist() == [[20, 15, 40, 75], [0, 0, 200, 150], [0, 0, 200, 150]]
    assert regions.clipped == (1,)
    assert len(place([], geometry)) == 0


@pytest.mark.parametrize("box", [(5, 5, 5, 9), (9, 5, 5, 9), (5, 9, 6, 5), (100, 0, 120, 9), (-9, -9, 0, 0)])
def test_a_box_of_nothing_is_named(box: tuple[float, float, float, float]) -> None:
    size = Size(100, 50)
    with pytest.raises(ImageError, match=r"^box 1 .*100x50") as raised:
        place([(0, 0, 9, 9), box], Geometry(size, size, size, size))
    assert raised.value.code == "boxes"


@given(st.lists(st.tuples(st.floats(0.5, 2000), st.floats(0.5, 2000)), max_size=20))
def test_levels_are_assigned_as_in_torchvisions_pyramid(sides: list[tuple[float, float]]) -> None:
    boxes = np.array([(0, 0, width, height) for width, height in [*sides, (224, 224), (112, 112)]], np.float32)
    mapper = LevelMapper(2, 5)
    expected = mapper([torch.from_numpy(boxes)])
    assert assign(Regions(boxes.astype(np.float64)), LEVELS).tolist() == expected.tolist()


def test_what_rounding_takes_from_a_box_sends_it_to_no_finer_level() -> None:
    sides = [(224.0, 224.0), (224.0 - 1e-9, 224.0 - 1e-9), (112.0 - 1e-9, 112.0)]
    regions = Regions(np.array([(0, 0, width, height) for width, height in sides]))
    assert [LEVELS[place].name for place in assign(regions, LEVELS)] == ["p4", "p4", "p3"]
