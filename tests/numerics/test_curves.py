"""The first twenty losses of every preset, held to those written down (curve.py says how).

A change that should not change numbers leaves the curves; one that should comes with new ones and a line in the
changelog. CPUs and builds of torch round differently and twenty steps amplify it, so the tolerance is relative and not
zero; what must be equal to the last bit on one machine is in test_resume.
"""

from pathlib import Path

import pytest

from detco_core.contract.presets import PRESETS
from tests.numerics.curve import CURVES, STEPS, losses, small, stored

TOLERANCE = 0.005


@pytest.mark.slow
@pytest.mark.parametrize("name", PRESETS)
def test_losses_are_those_written_down(name: str, photos: Path) -> None:
    assert losses(small(name), photos) == pytest.approx(stored(name), rel=TOLERANCE)


def test_every_curve_is_of_a_preset_and_tells_it_from_the_others() -> None:
    assert {path.stem for path in CURVES.iterdir()} == set(PRESETS)
    curves = {name: stored(name) for name in PRESETS}
    assert all(len(curve) == STEPS for curve in curves.values())
    for name, curve in curves.items():
        alike = [o for o, other in curves.items() if curve == pytest.approx(other, rel=2 * TOLERANCE)]
        assert alike == [name]
