"""Loads versions in a few threads, once each however many ask, and remembers what failed."""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from server.features.errors import ModelUnavailable
from server.features.models.catalog import VersionRef
from server.features.models.loaded import Loaded

log = logging.getLogger(__name__)

_THREADS = 2
_MAX_BACKOFF = 30.0


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a version could not be loaded, and when it is tried again (by `time.monotonic`)."""

    reason: str
    tries: int
    retry_at: float


class Loader:
    """`open` makes a model of a version; `arrived` takes it in and gives back the one to use."""

    def __init__(self, open: Callable[[VersionRef], Loaded], arrived: Callable[[Loaded], Loaded]) -> None:
        self._open = open
        self._arrived = arrived
        self._lock = threading.Lock()
        self._under_way: dict[VersionRef, Future[Loaded]] = {}
        self._failures: dict[VersionRef, Failure] = {}
        self.failed = 0
        """Loads that failed, since the start."""
        self._threads = ThreadPoolExecutor(_THREADS, "load")

    def load(self, version: VersionRef, *, again: bool = False) -> "Future[Loaded]":
        """The load of a version; `again`: also when it failed a moment ago.

        Raises:
            ModelUnavailable: it failed a moment ago. Also what the future raises, with the reason.
        """
        if not again and self.backing_off(version):
            raise ModelUnavailable(f"{version} cannot be loaded: {self._failures[version].reason}")
        with self._lock:
            if version not in self._under_way:
                self._under_way[version] = self._threads.submit(self._load, version)
            return self._under_way[version]

    def failure(self, version: VersionRef) -> Failure | None:
        """Why the last load of a version failed; None when it did not."""
        return self._failures.get(version)

    def backing_off(self, version: VersionRef) -> bool:
        """Whether the version failed a moment ago and is left alone for a while."""
        failure = self._failures.get(version)
        return failure is not None and version not in self._under_way and time.monotonic() < failure.retry_at

    @property
    def under_way(self) -> list[VersionRef]:
        """Versions being loaded now."""
        with self._lock:
            return list(self._under_way)

    def close(self) -> None:
        """Wait for the loads that run; forget those that do not."""
        self._threads.shutdown(cancel_futures=True)

    def _load(self, version: VersionRef) -> Loaded:
        try:
            loaded = self._arrived(self._open(version))
        # Whatever it was, the old version goes on serving and the reason is shown.
        except Exception as error:
            self._failed(version, error)
            raise ModelUnavailable(f"{version} cannot be loaded: {error}"[:500]) from error
        with self._lock:
            self._failures.pop(version, None)
            del self._under_way[version]
        log.info("%s is loaded and warm on %s", version, loaded.identity.provider)
        return loaded

    def _failed(self, version: VersionRef, error: Exception) -> None:
        with self._lock:
            self.failed += 1
            before = self._failures.get(version)
            tries = before.tries + 1 if before else 1
            wait = min(_MAX_BACKOFF, 2.0**tries)
            self._failures[version] = Failure(str(error)[:500], tries, time.monotonic() + wait)
            del self._under_way[version]
        log.warning("%s cannot be loaded (try %d, the next in %g s): %s", version, tries, wait, error)
