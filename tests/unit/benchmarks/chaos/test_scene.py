"""What a play gives the service time for, and what not."""

import time
from pathlib import Path

import psutil
import pytest

from benchmarks.chaos import scene
from benchmarks.chaos.deployment import LEAVING_SECONDS, Embedded
from benchmarks.chaos.scene import Plan, Scene

PLAN = Plan(runs=0, real=0, seconds=0, seed=0, interval=1, freeze_share=0, under_way=0)


@pytest.fixture
def after_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    """A play whose service has ended, but for one process: this one."""
    monkeypatch.setattr(scene, "_PULSE", 0.0)
    monkeypatch.setattr(Embedded, "processes", lambda _: [psutil.Process()])
    return Scene(Embedded(tmp_path, 0, 0.1), PLAN)


def test_what_had_its_time_since_the_last_blow_is_a_fault_at_once(
    after_the_end: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(after_the_end, "_calm_since", time.monotonic() - LEAVING_SECONDS)
    assert after_the_end._lingering() == [psutil.Process()]


def test_what_lost_its_keeper_has_the_time_to_leave(after_the_end: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(after_the_end, "_calm_since", time.monotonic() + 3600)  # however slow this machine is
    looks = iter([[psutil.Process()], [psutil.Process()], []])
    monkeypatch.setattr(Embedded, "processes", lambda _: next(looks))
    assert after_the_end._lingering() == []
