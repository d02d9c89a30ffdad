"""AutoAugment's policy for ImageNet (Cubuk et al., 2018, table 9 of the appendix): the other reading of "AA".

Twenty-five pairs of operations, of which each view draws one; the table and the strengths are torchvision's.
"""

from typing import NamedTuple

import numpy as np

from detco_core.views.operations import SIGNED, Step

TOP_LEVEL = 9
"""Levels run from 0 to this."""


class Chance(NamedTuple):
    """One operation of a pair."""

    name: str
    probability: float
    level: int = 0
    """0 for operations without a strength."""


POLICY: tuple[tuple[Chance, Chance], ...] = (
    (Chance("posterize", 0.4, 8), Chance("rotate", 0.6, 9)),
    (Chance("solarize", 0.6, 5), Chance("autocontrast", 0.6)),
    (Chance("equalize", 0.8), Chance("equalize", 0.6)),
    (Chance("posterize", 0.6, 7), Chance("posterize", 0.6, 6)),
    (Chance("equalize", 0.4), Chance("solarize", 0.2, 4)),
    (Chance("equalize", 0.4), Chance("rotate", 0.8, 8)),
    (Chance("solarize", 0.6, 3), Chance("equalize", 0.6)),
    (Chance("posterize", 0.8, 5), Chance("equalize", 1.0)),
    (Chance("rotate", 0.2, 3), Chance("solarize", 0.6, 8)),
    (Chance("equalize", 0.6), Chance("posterize", 0.4, 6)),
    (Chance("rotate", 0.8, 8), Chance("color", 0.4, 0)),
    (Chance("rotate", 0.4, 9), Chance("equalize", 0.6)),
    (Chance("equalize", 0.0), Chance("equalize", 0.8)),
    (Chance("invert", 0.6), Chance("equalize", 1.0)),
    (Chance("color", 0.6, 4), Chance("contrast", 1.0, 8)),
    (Chance("rotate", 0.8, 8), Chance("color", 1.0, 2)),
    (Chance("color", 0.8, 8), Chance("solarize", 0.8, 7)),
    (Chance("sharpness", 0.4, 7), Chance("invert", 0.6)),
    (Chance("shear_x", 0.6, 5), Chance("equalize", 1.0)),
    (Chance("color", 0.4, 0), Chance("equalize", 0.6)),
    (Chance("equalize", 0.4), Chance("solarize", 0.2, 4)),
    (Chance("solarize", 0.6, 5), Chance("autocontrast", 0.6)),
    (Chance("invert", 0.6), Chance("equalize", 1.0)),
    (Chance("color", 0.6, 4), Chance("contrast", 1.0, 8)),
    (Chance("equalize", 0.8), Chance("equalize", 0.6)),
)


def draw_auto_augment(rng: np.random.Generator) -> tuple[Step, ...]:
    """Draw one pair; each of its operations happens with its own probability, in a drawn direction where it has one."""
    pair = POLICY[int(rng.integers(len(POLICY)))]
    happens, signs = rng.random(2), rng.integers(2, size=2)
    return tuple(
        Step(name, (-1 if name in SIGNED and sign == 0 else 1) * level / TOP_LEVEL)
        for (name, probability, level), chance, sign in zip(pair, happens, signs, strict=True)
        if chance <= probability
    )
