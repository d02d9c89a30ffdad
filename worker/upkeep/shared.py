"""What a worker's main process tells its pool processes, through memory they all see.

Nothing to be locked or cleaned up: a process that is killed at any moment leaves it as good as it was.
"""

import mmap

from control.records.scheduling.workers import WorkerIdentity

_SIZE = 128
_STOPPING = 0
_ID = 1


class Shared:
    """One page; to be made before the pool is forked."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._page = mmap.mmap(-1, _SIZE)

    def stop(self) -> None:
        """Say that the worker leaves; safe in a signal handler."""
        self._page[_STOPPING] = 1

    def is_stopping(self) -> bool:
        return self._page[_STOPPING] == 1

    def become(self, identity: WorkerIdentity) -> None:
        """Say which row of the table of workers this worker is."""
        self._page[_ID:] = identity.id.encode().ljust(_SIZE - _ID, b"\0")

    def identity(self) -> WorkerIdentity:
        return WorkerIdentity(id=self._page[_ID:].rstrip(b"\0").decode(), host=self._host)
