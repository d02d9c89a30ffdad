"""What the C library keeps of memory that was freed; process-wide, and glibc's alone."""

import contextlib
import ctypes


def give_back() -> None:
    """Return what was freed to the system; glibc would keep most of it.

    That is 150 MB after opening a ResNet-50, and as much after an image of 800x1333. What is needed again at once costs
    a page fault for every 4 KiB: now and then, not after every image.
    """
    # Not every libc has it.
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
