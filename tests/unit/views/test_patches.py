"""Patches against explicit slicing, on a region whose pixels say where they are."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from detco_core.views.patches import cut_patches, draw_cuts


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(seed))


def region_of_coordinates(side: int) -> Tensor:
    """[2, side, side]: every pixel holds its own row and column."""
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    return torch.stack([rows, columns])


@given(grid=st.integers(1, 4), cell=st.integers(2, 20), data=st.data(), seed=st.integers(0, 2**32))
def test_each_patch_is_a_whole_slice_of_its_cell(grid: int, cell: int, data: st.DataObject, seed: int) -> None:
    size = data.draw(st.integers(1, cell))
    cuts = draw_cuts(grid, cell - size, rng(seed))
    patches = cut_patches(region_of_coordinates(grid * cell), grid, size, cuts)
    assert patches.shape == (grid * grid, 2, size, size)
    found = []
    for patch in patches:
        top, left = (int(value) for value in patch[:, 0, 0])
        assert torch.equal(patch, region_of_coordinates(grid * cell)[:, top : top + size, left : left + size])
        row, column = top // cell, left // cell
        assert top + size <= (row + 1) * cell
        assert left + size <= (column + 1) * cell
        found.append(row * grid + column)
    assert found == cuts.order.tolist()
    assert sorted(found) == list(range(grid * grid))


def test_slow_reference_of_the_published_sizes() -> None:
    region = torch.randint(0, 256, (3, 255, 255), dtype=torch.uint8)
    cuts = draw_cuts(3, 21, rng(7))
    patches = cut_patches(region, 3, 64, cuts)
    for place, cell in enumerate(cuts.order):
        top = 85 * (cell // 3) + cuts.offsets[cell, 0]
        left = 85 * (cell % 3) + cuts.offsets[cell, 1]
        assert torch.equal(patches[place], region[:, top : top + 64, left : left + 64])
    assert patches.dtype == torch.uint8


def test_offsets_reach_every_place_independently_in_each_cell() -> None:
    generator = rng(3)
    offsets = np.stack([draw_cuts(3, 4, generator).offsets for _ in range(2000)])
    for cell in range(9):
        for axis in range(2):
            counts = np.bincount(offsets[:, cell, axis], minlength=5)
            assert counts.sum() == 2000
            assert counts.min() > 300
    flat = offsets.reshape(2000, 18).astype(float)
    correlations = np.corrcoef(flat, rowvar=False) - np.eye(18)
    assert np.abs(correlations).max() < 0.1


def test_orders_are_drawn_anew() -> None:
    generator = rng(4)
    orders = np.stack([draw_cuts(3, 21, generator).order for _ in range(900)])
    assert len({tuple(order) for order in orders}) > 890
    for place in range(9):
        assert np.bincount(orders[:, place], minlength=9).min() > 60


@pytest.mark.parametrize("grid", [1, 2])
def test_no_slack_covers_the_region(grid: int) -> None:
    region = region_of_coordinates(8 * grid)
    cuts = draw_cuts(grid, 0, rng())
    seen = cut_patches(region, grid, 8, cuts).permute(0, 2, 3, 1).reshape(-1, 2)
    assert len({tuple(pixel) for pixel in seen.tolist()}) == (8 * grid) ** 2
