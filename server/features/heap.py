"""Gives back, every few seconds, what images have freed, so that the memory of a large one is not kept for good."""

import threading
from collections.abc import Callable

from detco_core.inference.sessions.allocator import give_back

SECONDS = 5.0
"""Between two looks. An image that follows pays some 8 ms of page faults (ResNet-50 at 224), so not after each."""


class Heap:
    """Looks after the process's heap between `start` and `close`; idle while nothing is computed."""

    def __init__(
        self, computed: Callable[[], int], seconds: float = SECONDS, give: Callable[[], None] = give_back
    ) -> None:
        self._computed = computed
        self._seconds = seconds
        self._give = give
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
        seen = self._computed()
        while not self._stop.wait(self._seconds):
            # Another number, also a smaller one: a model was let go.
            if (count := self._computed()) != seen:
                self._give()
                seen = count
