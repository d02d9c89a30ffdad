"""The operations of automatic augmentation policies on one 8-bit RGB image, and how drawn ones are applied.

Names, formulas and ranges are those of torchvision's `RandAugment` and `AutoAugment`.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageEnhance, ImageOps
from torch import Tensor

Operation = Callable[[Image.Image, float, tuple[int, int, int]], Image.Image]


class Step(NamedTuple):
    """One operation to apply."""

    name: str
    share: float
    """Of the operation's full strength: -1..1 when its direction is drawn, else 0..1."""


def apply_steps(view: Tensor, steps: tuple[Step, ...], mean: tuple[float, ...]) -> Tensor:
    """Apply drawn steps to uint8 `[3, H, W]`; what comes in from outside has the colour `mean`, of values in 0..1."""
    image = Image.fromarray(np.ascontiguousarray(view.permute(1, 2, 0).numpy()))
    red, green, blue = (round(255 * value) for value in mean)
    for name, share in steps:
        image = OPERATIONS[name](image, share, (red, green, blue))
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()


def _affine(image: Image.Image, matrix: tuple[float, ...], fill: tuple[int, int, int]) -> Image.Image:
    return image.transform(image.size, Image.Transform.AFFINE, matrix, Image.Resampling.NEAREST, fillcolor=fill)


def _shear_x(image: Image.Image, share: float, fill: tuple[int, int, int]) -> Image.Image:
    return _affine(image, (1, 0.3 * share, 0, 0, 1, 0), fill)


def _shear_y(image: Image.Image, share: float, fill: tuple[int, int, int]) -> Image.Image:
    return _affine(image, (1, 0, 0, 0.3 * share, 1, 0), fill)


def _translate_x(image: Image.Image, share: float, fill: tuple[int, int, int]) -> Image.Image:
    return _affine(image, (1, 0, -int(share * 150 / 331 * image.width), 0, 1, 0), fill)


def _translate_y(image: Image.Image, share: float, fill: tuple[int, int, int]) -> Image.Image:
    return _affine(image, (1, 0, 0, 0, 1, -int(share * 150 / 331 * image.height)), fill)


def _rotate(image: Image.Image, share: float, fill: tuple[int, int, int]) -> Image.Image:
    return image.rotate(30 * share, Image.Resampling.NEAREST, fillcolor=fill)


def _enhance(kind: Callable[[Image.Image], ImageEnhance._Enhance]) -> Operation:
    def operation(image: Image.Image, share: float, fill: tuple[int, int, int]) -> Image.Image:
        return kind(image).enhance(1 + 0.9 * share)

    return operation


def _posterize(image: Image.Image, share: float, fill: tuple[int, int, int]) -> Image.Image:
    return ImageOps.posterize(image, 8 - round(4 * share))


def _solarize(image: Image.Image, share: float, fill: tuple[int, int, int]) -> Image.Image:
    return ImageOps.solarize(image, 255 - 255 * share)  # type: ignore[arg-type]  # any threshold works, not only int


OPERATIONS: Mapping[str, Operation] = {
    "identity": lambda image, share, fill: image,
    "shear_x": _shear_x,
    "shear_y": _shear_y,
    "translate_x": _translate_x,
    "translate_y": _translate_y,
    "rotate": _rotate,
    "brightness": _enhance(ImageEnhance.Brightness),
    "color": _enhance(ImageEnhance.Color),
    "contrast": _enhance(ImageEnhance.Contrast),
    "sharpness": _enhance(ImageEnhance.Sharpness),
    "posterize": _posterize,
    "solarize": _solarize,
    "autocontrast": lambda image, share, fill: ImageOps.autocontrast(image),
    "equalize": lambda image, share, fill: ImageOps.equalize(image),
    "invert": lambda image, share, fill: ImageOps.invert(image),
}
"""By name; each takes an RGB image, the share of its full strength and a fill colour."""

SIGNED = frozenset(
    {"shear_x", "shear_y", "translate_x", "translate_y", "rotate", "brightness", "color", "contrast", "sharpness"}
)
"""Operations whose direction is drawn."""
