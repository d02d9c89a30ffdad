"""What is said to the C library's allocator."""

import ctypes
import platform
import subprocess
import sys

import pytest

from detco_core.inference.sessions import allocator


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
    allocator.share_one_heap()
    allocator.give_back()


_THREADS_THAT_FREE = """
import os, threading
from pathlib import Path
from detco_core.inference.sessions.allocator import give_back, share_one_heap

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

def work(done, end):
    # Blocks this large are mapped one by one, until some were freed; from then on they come from a heap.
    blocks = [bytearray(2**24) for _ in range(4)]
    del blocks
    blocks = [bytearray(2**23) for _ in range(4)]
    del blocks
    done.set()
    end.wait()

share_one_heap()
before = resident()
done, end = [threading.Event(), threading.Event()], threading.Event()
for event in done:
    threading.Thread(target=work, args=(event, end)).start()
for event in done:
    event.wait()
give_back()
print(resident() - before)
end.set()
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told")
def test_nothing_stays_with_threads_that_freed_it_all() -> None:
    command = [sys.executable, "-c", _THREADS_THAT_FREE]
    kept = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
    # Of 64 MB; each thread would keep the 32 MB at the end of a heap of its own.
    assert int(kept) < 2**23
