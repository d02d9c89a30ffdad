"""Random crops of an image, resized to a square: where the global views and the local regions come from.

The distribution is torchvision's RandomResizedCrop (Szegedy et al., 2015), which MoCo v2 and DetCo use.
"""

import math
from typing import NamedTuple

import numpy as np
from torch import Tensor
from torch.nn.functional import interpolate

RATIO = (3 / 4, 4 / 3)
"""Narrowest and widest aspect (width over height) of a crop."""
TRIES = 10
"""Boxes drawn that do not fit before the central crop is taken."""


class Box(NamedTuple):
    """A rectangle inside an image, in whole pixels."""

    top: int
    left: int
    height: int
    width: int


def draw_crop(height: int, width: int, scale: tuple[float, float], rng: np.random.Generator) -> Box:
    """Draw a box of `scale` of the image's area, uniform, and of log-uniform aspect within `RATIO`.

    An image so long and thin that no box fits gives its central crop of the nearest allowed aspect.
    """
    for _ in range(TRIES):
        area = height * width * rng.uniform(*scale)
        aspect = math.exp(rng.uniform(math.log(RATIO[0]), math.log(RATIO[1])))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            return Box(int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1)), h, w)
    return central_crop(height, width)


def central_crop(height: int, width: int) -> Box:
    """The largest central box whose aspect is within `RATIO`."""
    w = max(1, min(width, round(height * RATIO[1])))
    h = max(1, min(height, round(width / RATIO[0])))
    return Box((height - h) // 2, (width - w) // 2, h, w)


def resized_crop(image: Tensor, box: Box, size: int) -> Tensor:
    """Cut `box` out of `[C, H, W]` and resize it to `[C, size, size]`, bilinear and antialiased; uint8 or float32.

    Equals Pillow's crop and resize to one grey level. Fast when `image` is uint8, stored channels last and of at most
    four channels: torch then resizes integers with vector instructions, in about a third of Pillow's time.
    """
    cut = image[:, box.top : box.top + box.height, box.left : box.left + box.width]
    return interpolate(cut[None], (size, size), mode="bilinear", antialias=True, align_corners=False)[0]
