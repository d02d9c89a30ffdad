"""The local view: a region cut into a grid of cells, one patch at a random place in each cell, in random order.

The gap between neighbouring patches removes the continuity of edges, the order removes position (DetCo section 3,
after PIRL); both are drawn anew for every image and view.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


class Cuts(NamedTuple):
    """Where the P = grid * grid patches of one local view are cut, and in which order they come."""

    offsets: np.ndarray
    """int64 [P, 2]: top and left of the patch inside its cell, by cell in reading order."""
    order: np.ndarray
    """int64 [P]: place n of the view holds the patch of cell `order[n]`."""


def draw_cuts(grid: int, slack: int, rng: np.random.Generator) -> Cuts:
    """Draw one patch a cell, independently; `slack` is the cell's side less the patch's, in pixels."""
    patches = grid * grid
    return Cuts(rng.integers(0, slack + 1, size=(patches, 2)), rng.permutation(patches))


def cut_patches(region: Tensor, grid: int, size: int, cuts: Cuts) -> Tensor:
    """Cut `[C, S, S]` into `[P, C, size, size]`, of the same dtype, in the drawn order."""
    cell = region.shape[-1] // grid
    corners = np.stack(np.divmod(np.arange(grid * grid), grid), axis=1) * cell + cuts.offsets
    return torch.stack([region[:, top : top + size, left : left + size] for top, left in corners[cuts.order].tolist()])
