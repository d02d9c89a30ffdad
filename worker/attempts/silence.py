"""How long a job has said nothing, measured by its events file, which grows also while the database is away."""

import time
from pathlib import Path


class Silence:
    """Watches one file from the moment it is made; times are this machine's monotonic ones."""

    def __init__(self, events: Path) -> None:
        self._events = events
        self._size = -1
        self._since = time.monotonic()

    def seconds(self) -> float:
        """Since the file last grew, as far as was seen by looking."""
        try:
            size = self._events.stat().st_size
        except OSError:
            size = self._size
        if size != self._size:
            self._size, self._since = size, time.monotonic()
        return time.monotonic() - self._since
