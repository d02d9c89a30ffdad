"""What is said to the C library's allocator."""

import ctypes

import pytest

from detco_core.inference import allocator


class Libc:
    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []

    def malloc_trim(self, *arguments: int) -> int:
        self.calls.append(("malloc_trim", *arguments))
        return 1


def test_what_was_freed_goes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    libc = Libc()
    monkeypatch.setattr(ctypes, "CDLL", lambda name: libc)
    allocator.give_back()
    assert libc.calls == [("malloc_trim", 0)]


def test_another_libc_does_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    allocator.give_back()
