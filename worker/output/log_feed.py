"""Ships the log of processes that say nothing else: those of a host that does not lead its run."""

import logging
import threading

from worker.outages import DATABASE_AWAY, RETRY_SECONDS
from worker.output.logs import LogShipper

_PULSE = 0.5

_log = logging.getLogger(__name__)


class LogFeed(threading.Thread):
    """Takes on what is printed for as long as it runs; what it cannot take is left to whoever closes the share."""

    def __init__(self, log: LogShipper) -> None:
        super().__init__(name="log-feed", daemon=True)
        self._shipper = log
        self._ended = threading.Event()

    def finish(self) -> None:
        """The processes have ended: take what is left, unless the database is away, and use their folder no more."""
        self._ended.set()
        self.join()

    def run(self) -> None:
        try:
            while not self._ended.wait(_PULSE):
                self._ship()
            self._ship()
        except Exception:  # noqa: BLE001 - whatever it is, the share must still be ended
            _log.exception("a log cannot be shipped while its processes run")
        finally:
            self._shipper.settle()

    def _ship(self) -> None:
        try:
            while not self._shipper.ship():
                pass
        except DATABASE_AWAY as error:
            _log.warning("a log waits in its file: the database does not answer: %s", error)
            self._ended.wait(RETRY_SECONDS)
