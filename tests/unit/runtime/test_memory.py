"""Bytes of this process."""

import resource

import pytest
import torch

from detco_core.runtime import memory as memories
from detco_core.runtime.memory import memory, resident


def test_a_large_array_shows() -> None:
    before = resident()
    array = torch.ones(16 << 20)
    assert resident() - before > 0.9 * array.nbytes


def test_on_the_cpu_there_is_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(memory(torch.device("cpu"))) == {"memory_rss"}


def test_where_the_system_does_not_say_it_is_the_most_there_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memories, "_STATM", memories._STATM / "missing")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    assert before <= resident() <= resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
