"""When a job must go: the reasons there may be, and how long each of them leaves it to save."""

import time
from collections.abc import Callable, Iterator
from typing import Literal

from worker.attempts.lease import Lease
from worker.processes import is_let_go

SAVING_SHARE = 0.6
"""Of the seconds a leaving worker has: for its jobs to save. The rest is for storing and for closing the attempt."""
_LOST_SECONDS = 5.0
"""A job that has lost one of its hosts cannot save; it may end by itself, and say why."""
_FAILED_SECONDS = 30.0
"""A job whose processes failed on another host ends by itself, sooner or later."""
_IN_NO_HURRY = frozenset({"lapsed", "idle", "time_limit", "trouble"})
"""Reasons for a job to go that nobody stands and waits for."""


class Orders:
    """What a runner was told about its job, by the run's row, by the lease and by whoever holds its leash."""

    def __init__(self, lease: Lease, leash: int, shutdown_seconds: float) -> None:
        self._lease = lease
        self._leash = leash
        self._saving_seconds = shutdown_seconds * SAVING_SHARE
        self._deadlines: dict[str, float] = {}
        self._dismissed = False
        self._begun = time.monotonic()
        self._silence: Callable[[], float] = lambda: 0.0

    def listen(self, silence: Callable[[], float]) -> None:
        """The job runs: from now on it may hang; `silence` gives the seconds it has said nothing for."""
        self._silence = silence

    def dismiss(self) -> None:
        """The runner itself was asked to leave; safe in a signal handler."""
        self._dismissed = True

    def deadline(self) -> float | None:
        """When the job must be gone (monotonic seconds); None as long as it may go on."""
        self._note()
        return min(self._deadlines.values(), default=None)

    def patience(self) -> float | None:
        """When to stop waiting for database and store; None to wait as long as it takes.

        A lapsed lease is no reason: once the database answers again, the attempt may still be ours to close. Nor is
        another host's trouble: what was saved before is worth keeping.
        """
        self._note()
        return min((at for reason, at in self._deadlines.items() if reason not in _IN_NO_HURRY), default=None)

    @property
    def is_leaving(self) -> bool:
        """Whether the job must go though nobody wants its run to stop."""
        self._note()
        return bool(self._deadlines.keys() & {"lapsed", "leash", "preempt"})

    @property
    def limit(self) -> Literal["idle", "time_limit"] | None:
        """The limit of its own that the job has to go for, if it is one."""
        self._note()
        return "time_limit" if "time_limit" in self._deadlines else "idle" if "idle" in self._deadlines else None

    @property
    def is_steered(self) -> bool:
        """Whether a person has asked something of the run."""
        self._note()
        return bool(self._deadlines.keys() & {"pause", "cancel", "kill", "finish"})

    @property
    def is_cancelled(self) -> bool:
        """Whether it was asked to end for good, which nobody can take back."""
        self._note()
        return bool(self._deadlines.keys() & {"cancel", "kill"})

    @property
    def only_finish(self) -> bool:
        """Whether the one thing asked is to save and complete, which takes a job."""
        self._note()
        return self._deadlines.keys() == {"finish"}

    @property
    def only_save(self) -> bool:
        """Whether saving is the point of asking it to go: worth waiting until the job can do so."""
        self._note()
        return self._deadlines.keys() <= {"finish", "preempt", "time_limit"}

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
        if lease.seconds_left is not None and time.monotonic() - self._begun >= lease.seconds_left:
            yield "time_limit", lease.grace
        if self._silence() >= lease.idle_seconds:
            yield "idle", lease.grace
        if lease.is_lapsed:
            yield "lapsed", lease.grace
        if self._dismissed or is_let_go(self._leash):
            yield "leash", min(lease.grace, self._saving_seconds)
