"""Gives back what images have freed, so that the memory of a large one is not kept for good.

What one image frees the next one needs again, and would pay for with 8 ms of page faults (ResNet-50 at 224). So it is
given back when no more come, or when it is much: after large ones, before others.
"""

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from detco_core.inference.sessions.allocator import give_back

SECONDS = 2.5
"""Between two looks."""
IDLE = 4
"""Looks without anything new, after which no more images are expected."""
MUCH = 2**27
"""Bytes over what was held when something was last given back. A ResNet-50 takes 50 MB for an image at 224, 350 MB for
one at 800x1333."""


def held() -> int:
    """Bytes that this process has in memory; 0 where the system does not tell."""
    with suppress(OSError):
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


class Heap:
    """Looks after the process's heap between `start` and `close`; idle while nothing is computed."""

    def __init__(
        self,
        computed: Callable[[], int],
        seconds: float = SECONDS,
        give: Callable[[], None] = give_back,
        held: Callable[[], int] = held,
    ) -> None:
        """`computed`: a number that changes when something may have been freed."""
        self._computed = computed
        self._seconds = seconds
        self._give = give
        self._held = held
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="give-back", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Returns at once when there is nothing under way."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        seen, settled, idle = self._computed(), self._held(), IDLE
        while not self._stop.wait(self._seconds):
            # Another number, also a smaller one: a model was let go.
            idle = 0 if (count := self._computed()) != seen else idle + 1
            seen = count
            # At rest the kernel may still fill huge pages, and so hold more.
            most = settled + (MUCH if idle < IDLE else settled // 10)
            if idle == IDLE or self._held() > most:
                self._give()
                settled = self._held()
