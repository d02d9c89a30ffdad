"""What the C library keeps of memory that was freed; process-wide, and glibc's alone."""

import contextlib
import ctypes

_M_ARENA_MAX = -8
"""Of `malloc.h`."""


def share_one_heap() -> None:
    """Have threads that start from now on allocate in the main heap, instead of one each.

    What a thread freed at the end of a heap of its own is beyond `give_back`: of an image of 800x1333 as its decoder
    left it, 13 MB to 35 MB a thread. Call it before there are threads.
    """
    # Not every libc has it.
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def give_back() -> None:
    """Return what was freed to the system; glibc would keep most of it.

    That is 150 MB after opening a ResNet-50, and as much after an image of 800x1333. What is needed again at once costs
    a page fault for every 4 KiB: now and then, not after every image.
    """
    # The same.
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
