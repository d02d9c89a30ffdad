"""Has the C library hold this process's memory in huge pages, for which it must be told before the process starts.

A network goes through all its weights and maps for every image: in pages of 4 KiB that costs some 3 % more processor
time than in pages of 2 MiB (docs/decisions/237).
"""

import os
import platform
import sys
from contextlib import suppress
from pathlib import Path

_VARIABLE = "GLIBC_TUNABLES"
_TUNABLE = "glibc.malloc.hugetlb"
_ON = f"{_TUNABLE}=1"
"""`madvise(MADV_HUGEPAGE)` of whatever is allocated; no page is set aside for it (glibc's manual, Memory Allocation
Tunables)."""
_POLICY = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def use_huge_pages() -> None:
    """Start this very process again, told so; returns where it was told, has its own word on it, or none would help.

    Processes that it starts are not told. Call it before anything has begun.
    """
    said = os.environ.get(_VARIABLE, "")
    if _TUNABLE in said:
        _say(said.removesuffix(_ON).rstrip(":"))
    elif platform.libc_ver()[0] == "glibc" and _are_given_to_who_asks():
        _say(f"{said}:{_ON}".lstrip(":"))
        # Where it cannot be started again it goes on as it is.
        with suppress(OSError):
            os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - this very program
        _say(said)


def _say(tunables: str) -> None:
    os.environ.pop(_VARIABLE, None)
    if tunables:
        os.environ[_VARIABLE] = tunables


def _are_given_to_who_asks() -> bool:
    """Not where the kernel gives them to all, or the machine's operator to nobody."""
    try:
        return "[madvise]" in _POLICY.read_text()
    except OSError:
        return False
