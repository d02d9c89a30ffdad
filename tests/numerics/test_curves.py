"""The first twenty losses of a preset, held to those written down (`curves/PRESET.txt`: `step loss` a line).

A change that should not change numbers leaves the curve; one that should comes with the new curve and a line in the
changelog. CPUs and builds of torch round differently and twenty steps amplify it, so the tolerance is relative and not
zero; what must be equal to the last bit on one machine is in test_resume.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from detco_core.contract.config import override
from detco_core.contract.events import Body, Metrics
from detco_core.contract.presets import preset

TOLERANCE = 0.005
CURVES = Path(__file__).parent / "curves"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["smoke"])
def test_losses_are_those_written_down(
    name: str, tmp_path: Path, train: Callable[..., Path], told: Callable[[Path], list[Body]]
) -> None:
    train(tmp_path, override(preset(name), {"device.kind": "cpu", "train.checkpoint_every": 20}))
    found = {event.step: event.values["loss"] for event in told(tmp_path) if isinstance(event, Metrics)}
    lines = (CURVES / f"{name}.txt").read_text().splitlines()
    expected = {int(step): float(loss) for step, loss in (line.split() for line in lines)}
    assert found == pytest.approx(expected, rel=TOLERANCE)
