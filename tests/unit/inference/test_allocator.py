"""What is said to the C library's allocator."""

import ctypes

import pytest

from detco_core.inference import allocator


class Libc:
    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []

    def mallopt(self, *arguments: int) -> int:
        self.calls.append(("mallopt", *arguments))
        return 1

    def malloc_trim(self, *arguments: int) -> int:
        self.calls.append(("malloc_trim", *arguments))
        return 1


def test_blocks_of_a_mebibyte_go_back_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    libc = Libc()
    monkeypatch.setattr(ctypes, "CDLL", lambda name: libc)
    allocator.return_large_blocks()
    allocator.give_back()
    assert libc.calls == [("mallopt", -3, 2**20), ("malloc_trim", 0)]


def test_another_libc_does_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    allocator.return_large_blocks()
    allocator.give_back()
