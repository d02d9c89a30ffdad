"""Notices a consumer that has stopped: a run that this worker could take, and looks at in vain for minutes.

Wake-ups, pool and stand-ins each have their way around a fault of the others; this is for what none of them gets past.
"""

import time
from collections.abc import Hashable


class Watchdog:
    """Remembers since when the same run was the best one to take."""

    def __init__(self, patience_seconds: float) -> None:
        self._patience = patience_seconds
        self._seen: dict[Hashable, tuple[str, float]] = {}

    def see(self, queue: Hashable, run_id: str | None) -> str | None:
        """Note what a claim would take now (None: nothing); the run, once it has been so for too long."""
        now = time.monotonic()
        before, since = self._seen.get(queue, ("", now))
        if run_id is None:
            self._seen.pop(queue, None)
            return None
        if run_id != before:
            since = now
        self._seen[queue] = (run_id, since)
        return run_id if now - since > self._patience else None
