"""When a job must go: the reasons there may be, and how long each of them leaves it to save."""

import time
from collections.abc import Iterator

from worker.lease import Lease
from worker.processes import is_let_go

SAVING_SHARE = 0.6
"""Of the seconds a leaving worker has: for its jobs to save. The rest is for storing and for closing the attempt."""
_LOST_SECONDS = 5.0
"""A job that has lost one of its hosts cannot save; it may end by itself, and say why."""
_FAILED_SECONDS = 30.0
"""A job whose processes failed on another host ends by itself, sooner or later."""


class Orders:
    """What a runner was told about its job, by the run's row, by the lease and by whoever holds its leash."""

    def __init__(self, lease: Lease, leash: int, shutdown_seconds: float) -> None:
        self._lease = lease
        self._leash = leash
        self._saving_seconds = shutdown_seconds * SAVING_SHARE
        self._deadlines: dict[str, float] = {}
        self._dismissed = False

    def dismiss(self) -> None:
        """The runner itself was asked to leave; safe in a signal handler."""
        self._dismissed = True

    def deadline(self) -> float | None:
        """When the job must be gone (monotonic seconds); None as long as it may go on."""
        self._note()
        return min(self._deadlines.values(), default=None)

    def patience(self) -> float | None:
        """When to stop waiting for database and store; None to wait as long as it takes.

        A lapsed lease is no reason: once the database answers again, the attempt may still be ours to close.
        """
        self._note()
        return min((at for reason, at in self._deadlines.items() if reason != "lapsed"), default=None)

    @property
    def is_leaving(self) -> bool:
        """Whether the job must go though nobody wants its run to stop."""
        self._note()
        return bool(self._deadlines.keys() & {"lapsed", "leash"})

    @property
    def only_finish(self) -> bool:
        """Whether the one thing asked is to save and complete: worth waiting until the job can do so."""
        self._note()
        return self._deadlines.keys() == {"finish"}

    def _note(self) -> None:
        for reason, seconds in self._reasons():
            self._deadlines.setdefault(reason, time.monotonic() + seconds)

    def _reasons(self) -> Iterator[tuple[str, float]]:
        lease = self._lease
        if lease.is_stale:
            yield "stale", 0.0
        if lease.wanted == "kill":
            yield "kill", 0.0
        elif lease.wanted != "run":
            yield lease.wanted, lease.grace
        elif lease.trouble is not None:
            patience = {"lost": _LOST_SECONDS, "failed": _FAILED_SECONDS, "left": lease.grace}
            yield "trouble", min(lease.grace, patience[lease.trouble.kind])
        if lease.is_lapsed:
            yield "lapsed", lease.grace
        if self._dismissed or is_let_go(self._leash):
            yield "leash", min(lease.grace, self._saving_seconds)
