"""Keeps the lease of a claimed run and knows what is wanted of it, in a thread of its own.

The database may be slow or away: nothing that decides about the job's process may wait for it. The lease is measured
here by this machine's monotonic clock from *before* each renewal was sent, so it never seems longer than it is.
"""

import logging
import os
import threading
import time

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from control.db.session import read_only, unit_of_work
from control.records.life.leases import Directive
from control.records.scheduling.gangs import Trouble
from control.settings import Settings
from control.states import DesiredState
from worker.attempts.holds import hold_of
from worker.processes import Mark

_log = logging.getLogger(__name__)


class Lease(threading.Thread):
    """The hold of this process on one run; `start()` begins to keep it."""

    def __init__(self, engine: Engine, mark: Mark, settings: Settings) -> None:
        super().__init__(name="lease", daemon=True)
        self._engine = engine
        self._mark = mark
        self._hold = hold_of(mark)
        self._settings = settings
        self._held_since = time.monotonic()
        self._to_announce = False
        self._left = False
        self._wake = threading.Event()
        self.is_stale = False
        """Another owns the run, or nobody should: stop the job and write nothing more."""
        self.wanted: DesiredState = "run"
        self.grace = settings.grace_seconds
        """Seconds between SIGTERM and SIGKILL of this run's job."""
        self.trouble: Trouble | None = None
        """What became of another host that works on the run."""
        self.seconds_left: float | None = None
        """That this attempt may take, from its claim."""
        self.idle_seconds = settings.idle_seconds
        """That its job may be silent."""

    @property
    def is_lapsed(self) -> bool:
        """Whether the lease may have ended without our knowing, because the database was away."""
        return time.monotonic() - self._held_since > self._settings.lease_seconds

    def announce(self) -> None:
        """Let it be known that the job's process runs."""
        self._to_announce = True
        self._wake.set()

    def leave(self) -> None:
        """Stop keeping the lease."""
        self._left = True
        self._wake.set()

    def run(self) -> None:
        renewal_due = 0.0
        while not (self._left or self.is_stale):
            try:
                if time.monotonic() >= renewal_due:
                    self._obey(self._renew())
                    renewal_due = time.monotonic() + self._settings.heartbeat_seconds
                self._obey(self._look())
            except SQLAlchemyError as error:
                _log.warning("%s: the database does not answer: %s", self._mark.run, error)
                renewal_due = 0.0
            self._wake.wait(self._settings.control_poll_seconds)
            self._wake.clear()

    def _renew(self) -> Directive | None:
        begun = time.monotonic()
        with unit_of_work(self._engine) as session:
            directive = self._hold.renew(session, self._settings.lease_seconds)
        self._held_since = begun
        return directive

    def _look(self) -> Directive | None:
        if self._to_announce:
            with unit_of_work(self._engine) as session:
                self._hold.start(session, os.getpid())
            self._to_announce = False
        with read_only(self._engine) as session:
            return self._hold.look(session)

    def _obey(self, directive: Directive | None) -> None:
        if directive is None:
            self.is_stale = True
            return
        self.wanted = directive.desired_state
        self.trouble = self.trouble or directive.trouble
        self.grace = self._settings.grace_seconds if directive.grace_seconds is None else directive.grace_seconds
        self.seconds_left = directive.seconds_left
        self.idle_seconds = self._settings.idle_seconds if directive.idle_seconds is None else directive.idle_seconds
