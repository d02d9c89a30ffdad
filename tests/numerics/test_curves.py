"""The first twenty losses of every preset, held to those written down (curve.py says how).

A change that should not change numbers leaves the curves; one that should comes with new ones and a line in the
changelog. CPUs and builds of torch round differently, and batch norm over so few values amplifies a rounding about
thirtyfold a step, until curves differ by a few percent (measured between memory formats, numbers of threads, machines).
So the first step is held tightly (weights, views, order, every term), the second closely (gradient, optimizer,
momentum, queue), the rest in its course. What must be equal to the last bit on one machine is in test_resume.
"""

from pathlib import Path

import pytest

from detco_core.contract.presets import PRESETS
from tests.numerics.curve import CURVES, STEPS, losses, small, stored

TOLERANCES = (1e-4, 1e-2, *(STEPS - 2) * (0.15,))


@pytest.mark.slow
@pytest.mark.parametrize("name", PRESETS)
def test_losses_are_those_written_down(name: str, photos: Path) -> None:
    found, expected = losses(small(name), photos), stored(name)
    for step, (loss, written, tolerance) in enumerate(zip(found, expected, TOLERANCES, strict=True), start=1):
        assert loss == pytest.approx(written, rel=tolerance), f"step {step} of {found}"


def test_every_preset_has_a_curve_of_its_own() -> None:
    assert {path.stem for path in CURVES.iterdir()} == set(PRESETS)
    curves = {name: stored(name) for name in PRESETS}
    assert {len(curve) for curve in curves.values()} == {STEPS}
    assert len({tuple(curve) for curve in curves.values()}) == len(PRESETS)
