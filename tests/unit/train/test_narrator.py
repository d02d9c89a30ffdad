"""When what is told."""

from collections.abc import Callable
from pathlib import Path

import pytest

from detco_core.contract.config import RunConfig
from detco_core.contract.events import Body, Metrics, Progress, Warned
from detco_core.runtime.meters import Speed
from detco_core.runtime.reporter import Reporter
from detco_core.train.alarms import Alarms
from detco_core.train.console import Silent
from detco_core.train.narrator import NAMED_FILES, Length, Narrator

Told = Callable[..., list[Body]]


@pytest.fixture
def narrator(tmp_path: Path, reporter: Reporter, tiny_config: Callable[..., RunConfig]) -> Narrator:
    length = Length(steps=1000, steps_per_epoch=8)
    alarms = Alarms(config=tiny_config())
    return Narrator(folder=tmp_path / "job", length=length, reporter=reporter, console=Silent(), alarms=alarms)


def test_the_first_and_the_last_step_are_always_told(narrator: Narrator, told: Told) -> None:
    """A thousand steps take less than the half second between two words."""
    for done in (1, 2, 3, 999, 1000):
        narrator.progress(done, Speed())
    steps = [event.step for event in told() if isinstance(event, Progress)]
    assert (steps[0], steps[-1]) == (1, 1000)
    assert len(steps) < 5


def test_epochs_are_counted(narrator: Narrator, told: Told) -> None:
    narrator.progress(12, Speed())
    (progress,) = told()
    assert isinstance(progress, Progress)
    assert (progress.epoch, progress.epochs, progress.eta_seconds) == (1.5, 125.0, None)


def test_values_that_are_not_finite_are_left_out(narrator: Narrator, told: Told) -> None:
    narrator.metrics(3, {"loss": 1.0, "grad_norm": float("inf")})
    assert told() == [Metrics(step=3, values={"loss": 1.0})]


def test_a_broken_file_is_told_once(narrator: Narrator, told: Told) -> None:
    narrator.broken(["a.jpg", "b.jpg"])
    narrator.broken(["a.jpg"])
    narrator.metrics(1, {})
    narrator.broken(["b.jpg", "c.jpg"])
    narrator.metrics(2, {})
    narrator.metrics(3, {})
    warnings = [event for event in told() if isinstance(event, Warned)]
    assert [(event.code, event.details["files"]) for event in warnings] == [
        ("broken_images", ["a.jpg", "b.jpg"]),
        ("broken_images", ["c.jpg"]),
    ]


def test_a_flood_of_broken_files_stays_short(narrator: Narrator, told: Told) -> None:
    narrator.broken(f"{n}.jpg" for n in range(1000))
    narrator.metrics(1, {})
    (warning,) = [event for event in told() if isinstance(event, Warned)]
    assert len(warning.details["files"]) == NAMED_FILES
    assert warning.details["count"] == 1000
