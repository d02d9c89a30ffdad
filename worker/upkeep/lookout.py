"""A worker's own look at the work that waits for it, so that none depends on a message that arrives."""

import logging
import time
from collections.abc import Callable

from celery import Celery
from sqlalchemy import Engine

from control.db.session import read_only, unit_of_work
from control.jobs import wake
from control.records.life import shares
from control.records.runs.kinds import Queue
from control.records.scheduling import claims, workers
from worker.upkeep.shared import Shared
from worker.upkeep.standins import StandIns
from worker.upkeep.watchdog import Watchdog

QUEUES: tuple[Queue, ...] = ("gpu", "cpu")

_CALL_AGAIN = 10.0
"""Seconds after which a share that was not taken up is seen to again."""

_log = logging.getLogger(__name__)


class Lookout:
    """Sees to queued runs and to shares of this host; `give_up` is called when work is left untouched for too long."""

    def __init__(
        self,
        engine: Engine,
        celery: Celery,
        shared: Shared,
        stand_ins: StandIns,
        stall_seconds: float,
        give_up: Callable[[], None] = lambda: None,
    ) -> None:
        self._engine = engine
        self._celery = celery
        self._shared = shared
        self._stand_ins = stand_ins
        self._watchdog = Watchdog(stall_seconds)
        self._give_up = give_up
        self._passed_over: set[Queue] = set()
        self._called: dict[tuple[str, int], float] = {}
        self.has_stalled = False
        """Whether the worker leaves because work it could take was left untouched."""

    def look(self) -> None:
        """See to work that waits: by a wake-up first, by a stand-in when the broker did not take or deliver it."""
        for queue in QUEUES:
            self._look_at(queue)
        with unit_of_work(self._engine) as session:
            workers.note_look(session, self._shared.identity().id)

    def join_others(self) -> None:
        """See to shares of runs that another host leads: a wake-up could not say which host it is for."""
        if self._shared.is_stopping():
            return
        identity = self._shared.identity()
        with read_only(self._engine) as session:
            waiting = shares.waiting_on(session, identity.host)
        now = time.monotonic()
        self._called = {share: called for share, called in self._called.items() if share in waiting}
        for share in waiting:
            if now - self._called.get(share, -_CALL_AGAIN) >= _CALL_AGAIN:
                self._called[share] = now
                self._stand_ins.start("gpu", identity)

    def _look_at(self, queue: Queue) -> None:
        identity = self._shared.identity()
        with read_only(self._engine) as session:
            waits = None if self._shared.is_stopping() else claims.next_for(session, identity, queue)
        if self._watchdog.see(queue, waits) is not None:
            _log.error("%s could be taken here and is not: this worker ends, to be started anew", waits)
            self.has_stalled = True
            self._give_up()
        elif waits and (queue in self._passed_over or not wake(self._celery, queue)):
            _log.warning("the broker is silent: work on %s is taken without it", queue)
            self._stand_ins.start(queue, identity)
        self._passed_over = self._passed_over | {queue} if waits else self._passed_over - {queue}
