"""One draw of the photometric part of a view: flip, colour jitter, grey, blur, in MoCo v2's order and probabilities.

Drawing and applying are apart, so that a region is drawn once for all of its patches and a test can apply the same
draw with other code.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from detco_core.contract.config import ViewsConfig
from detco_core.views import color

Adjustment = Literal["brightness", "contrast", "saturation", "hue"]
ADJUSTMENTS: Mapping[Adjustment, Callable[[Tensor, float], Tensor]] = {
    "brightness": color.adjust_brightness,
    "contrast": color.adjust_contrast,
    "saturation": color.adjust_saturation,
    "hue": color.adjust_hue,
}


@dataclass(frozen=True, slots=True)
class Photometric:
    """What will be done to one view."""

    flip: bool
    jitter: tuple[tuple[Adjustment, float], ...]
    """Adjustments in the order they are applied, each with its factor (hue: turn of the circle)."""
    gray: bool
    blur: float | None
    """Standard deviation in pixels; None for no blur."""


def draw_photometric(config: ViewsConfig, rng: np.random.Generator) -> Photometric:
    """Draw independently of any image; without three channels there is no colour to jitter and no grey."""
    if config.channels != 3:
        return Photometric(bool(rng.random() < config.flip), (), False, _draw_blur(config, rng))
    flip = rng.random() < config.flip
    jitter = _draw_jitter(config, rng) if rng.random() < config.jitter_probability else ()
    gray = rng.random() < config.grayscale_probability
    return Photometric(bool(flip), jitter, bool(gray), _draw_blur(config, rng))


def _draw_blur(config: ViewsConfig, rng: np.random.Generator) -> float | None:
    return rng.uniform(*config.blur_sigma) if rng.random() < config.blur_probability else None


def _draw_jitter(config: ViewsConfig, rng: np.random.Generator) -> tuple[tuple[Adjustment, float], ...]:
    *strengths, hue = config.jitter
    factors = [float(rng.uniform(max(0.0, 1 - strength), 1 + strength)) for strength in strengths]
    factors.append(float(rng.uniform(-hue, hue)))
    names = tuple(ADJUSTMENTS)
    return tuple((names[n], factors[n]) for n in rng.permutation(len(names)) if config.jitter[n] > 0)


def recolour(image: Tensor, draw: Photometric) -> Tensor:
    """Apply jitter, grey and blur to `[C, H, W]`, uint8 or float32 of 0..255; the flip is geometry, not done here."""
    if not (draw.jitter or draw.gray or draw.blur):
        return image
    planes = image.to(torch.float32)
    for name, factor in draw.jitter:
        planes = ADJUSTMENTS[name](planes, factor)
    if draw.gray:
        planes = color.grayscale(planes)
    if draw.blur:
        # After grey, one plane is left to blur: a third of the work, the same result.
        planes = color.gaussian_blur(planes, draw.blur)
    if image.dtype == torch.uint8:
        # NumPy narrows floats to bytes with vector instructions, torch does not.
        planes = torch.from_numpy(planes.add_(0.5).numpy().astype(np.uint8))
    return planes.expand(len(image), -1, -1)
