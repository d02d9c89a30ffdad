"""Photometric operations on one image: float32 `[3, H, W]`, RGB, values 0..255, returned clipped to that range.

Formulas are those of `torchvision.transforms.v2.functional` on float tensors; rounding to integers is left to the
caller, once. They are written for few passes over memory, and cost a fraction of the same steps in Pillow or
torchvision (docs/decisions/051-photometric-operations.md).

C channels, H height, W width; a grey image is [1, H, W].
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import pad

LUMA = (0.299, 0.587, 0.114)
"""ITU-R 601-2 weights of red, green and blue in grey."""
TOP = 255.0


def adjust_brightness(x: Tensor, factor: float) -> Tensor:
    """Scale all values by `factor` (>= 0)."""
    return torch.mul(x, factor).clamp_(0, TOP)


def adjust_contrast(x: Tensor, factor: float) -> Tensor:
    """Scale the distance of all values from the image's mean grey by `factor` (>= 0)."""
    # NumPy's mean: torch's adds up in another order on another number of threads, and the numbers would follow.
    mean = float(grayscale(x).numpy().mean())
    return torch.mul(x, factor).add_(mean * (1 - factor)).clamp_(0, TOP)


def adjust_saturation(x: Tensor, factor: float) -> Tensor:
    """Scale the distance of each pixel from its own grey by `factor` (>= 0)."""
    return torch.mul(x, factor).add_(grayscale(x), alpha=1 - factor).clamp_(0, TOP)


def grayscale(x: Tensor) -> Tensor:
    """The luma of each pixel, [1, H, W]."""
    red, green, blue = x
    return torch.mul(red, LUMA[0]).add_(green, alpha=LUMA[1]).add_(blue, alpha=LUMA[2])[None]


def adjust_hue(x: Tensor, turn: float) -> Tensor:
    """Rotate each pixel's hue by `turn` of the colour circle (-0.5..0.5); its value and saturation in HSV stay.

    With largest and smallest channel V and m, chroma C = V - m, and hue h in sixths of the circle, -3..3, a channel
    that is least at hue o is V - C * clip(2 - d, 0, 1), where d is the distance of h from o on the circle of six. Kept
    multiplied by C, neither division nor case is needed: C * |h| = G + B - R + V - 2m, with the sign of G - B.
    """
    red, green, blue = x
    value = torch.maximum(torch.maximum(red, green), blue)
    least = torch.minimum(torch.minimum(red, green), blue)
    chroma = value - least
    hue = torch.add(green, blue).sub_(red).add_(value).sub_(least, alpha=2).copysign_(green - blue)
    reach = value + chroma
    turned = torch.empty_like(x)
    for plane, least_at in zip(turned, (3.0, 5.0, 1.0), strict=True):
        # Within -3..3, so that |h + shift| <= 6 and the distance on the circle is 3 - ||h + shift| - 3|.
        shift = (6 * turn - least_at + 3) % 6 - 3
        torch.add(hue, chroma, alpha=shift, out=plane)
        plane.abs_().sub_(chroma, alpha=3).abs_()
        torch.sub(reach, plane, out=plane).clamp_(least, value)
    return turned


def gaussian_blur(x: Tensor, sigma: float) -> Tensor:
    """Blur [C, H, W] with a Gaussian of `sigma` pixels, cut off at 3 sigma and renormalised; borders are mirrored."""
    taps = gaussian_taps(sigma)
    # Plane by plane: one plane and its sums stay in the processor's cache.
    return torch.stack([_filter_rows(_filter_columns(plane, taps), taps) for plane in x])


def gaussian_taps(sigma: float) -> list[float]:
    """The middle of the kernel and one side of it, outwards."""
    radius = max(1, math.ceil(3 * sigma))
    side = [math.exp(-0.5 * (distance / sigma) ** 2) for distance in range(radius + 1)]
    total = side[0] + 2 * sum(side[1:])
    return [weight / total for weight in side]


def _filter_columns(plane: Tensor, taps: list[float]) -> Tensor:
    """Symmetric filter along H: for each tap, the plane shifted up and down, added."""
    radius, height = len(taps) - 1, plane.shape[0]
    wide = pad(plane[None, None], (0, 0, radius, radius), mode="reflect")[0, 0]
    total = wide[radius : radius + height] * taps[0]
    for shift, weight in enumerate(taps[1:], start=1):
        total.add_(wide[radius - shift : radius - shift + height], alpha=weight)
        total.add_(wide[radius + shift : radius + shift + height], alpha=weight)
    return total


def _filter_rows(plane: Tensor, taps: list[float]) -> Tensor:
    """Symmetric filter along W."""
    radius, width = len(taps) - 1, plane.shape[1]
    wide = pad(plane[None, None], (radius, radius, 0, 0), mode="reflect")[0, 0]
    total = wide[:, radius : radius + width] * taps[0]
    for shift, weight in enumerate(taps[1:], start=1):
        total.add_(wide[:, radius - shift : radius - shift + width], alpha=weight)
        total.add_(wide[:, radius + shift : radius + shift + width], alpha=weight)
    return total
