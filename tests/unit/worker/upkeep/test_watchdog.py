import time

import pytest

from worker.upkeep.watchdog import Watchdog


def test_it_barks_when_the_same_run_waits_for_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    dog = Watchdog(patience_seconds=10)
    assert dog.see("gpu", "run_1") is None
    now = 109.0
    assert dog.see("gpu", "run_1") is None
    assert dog.see("cpu", "run_9") is None, "each queue by itself"
    now = 111.0
    assert dog.see("gpu", "run_1") == "run_1"
    assert dog.see("gpu", "run_2") is None, "another: work goes on"
    now = 130.0
    assert dog.see("gpu", None) is None
    assert dog.see("gpu", "run_2") is None
