"""The leader's cleaning: beside the upkeep, since a store that does not answer must not hold up a heartbeat."""

import logging
import time
from concurrent.futures import Future
from datetime import timedelta

from sqlalchemy import Engine

from control import collector
from control.db.session import unit_of_work
from control.errors import StoreError
from control.records.runs import checkpoints
from control.settings import Settings
from control.storage.base import Store
from worker.background import in_background
from worker.outages import DATABASE_AWAY

_DAY = 24 * 3600.0
_PAUSE = 30.0
"""Seconds after a round that could not be ended because store or database were away."""

_log = logging.getLogger(__name__)


class Cleaning:
    """Does one round after the other, never two at once; `tend` is called often and never waits."""

    def __init__(self, settings: Settings, engine: Engine, store: Store) -> None:
        self._settings = settings
        self._engine = engine
        self._store = store
        self._round: Future[None] | None = None
        self._not_before = 0.0
        self._swept_at: float | None = None

    def tend(self) -> None:
        """Begin a round when none is under way."""
        if self._round is not None and not self._round.done():
            return
        if self._round is not None and (error := self._round.exception()) is not None:
            self._not_before = time.monotonic() + _PAUSE
            _tell(error)
        self._round = None
        if time.monotonic() >= self._not_before:
            self._round = in_background(self.clean, "cleaning")

    def clean(self) -> None:
        """One round; once a day also everything that no table knows."""
        daily = self._swept_at is None or time.monotonic() - self._swept_at > _DAY
        if daily:
            with unit_of_work(self._engine) as session:
                checkpoints.reconsider_all(session)
        freed = collector.look_after(self._engine, self._store, self._settings.keep_policy)
        if freed:
            _log.info("%d bytes were freed in the artifact store", freed)
        if daily:
            collector.sweep_orphans(self._engine, self._store, timedelta(hours=self._settings.orphan_hours))
            self._swept_at = time.monotonic()


def _tell(error: BaseException) -> None:
    if isinstance(error, (StoreError, *DATABASE_AWAY)):
        _log.warning("cleaning waits: %s", error)
    else:
        _log.error("cleaning failed", exc_info=error)
