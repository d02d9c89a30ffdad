"""The thread of the upkeep, in the worker's main process: each duty again after so many seconds."""

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from celery import Celery
from sqlalchemy import Engine

from control.db.session import unit_of_work
from control.records import leaders
from control.records.scheduling import workers
from control.settings import Settings
from worker.outages import DATABASE_AWAY
from worker.upkeep.leader import DUTY, Leader
from worker.upkeep.lookout import Lookout
from worker.upkeep.presence import Presence
from worker.upkeep.remains import Remains
from worker.upkeep.shared import Shared
from worker.upkeep.standins import StandIns

_TICK = 0.2
_OFTEN = 1.0
_SELDOM = 60.0

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Duty:
    """Something to be done every so many seconds."""

    do: Callable[[], None]
    every: float
    due: float = 0.0


class Upkeep(threading.Thread):
    """The thread; `presence.register` comes before it, `retire` after it."""

    def __init__(
        self,
        settings: Settings,
        engine: Engine,
        celery: Celery,
        shared: Shared,
        stand_ins: StandIns,
        visible_devices: str | None = None,
        give_up: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(name="upkeep", daemon=True)
        self._settings = settings
        self._engine = engine
        self._shared = shared
        self._stand_ins = stand_ins
        self._ended = threading.Event()
        self.presence = Presence(settings, engine, shared, visible_devices)
        self.lookout = Lookout(engine, celery, shared, stand_ins, settings.stall_seconds, give_up)
        self.leader = Leader(settings, engine, celery, shared)
        self.remains = Remains(settings, engine)

    def run(self) -> None:
        duties = self._duties()
        while not self._ended.wait(_TICK):
            if self._shared.is_stopping():
                self._stand_ins.let_go()
            self._stand_ins.tend()
            for duty in duties:
                if time.monotonic() >= duty.due:
                    duty.due = time.monotonic() + duty.every
                    _see_to(duty.do)

    def retire(self) -> None:
        """End the thread and say that this worker has ended."""
        self._ended.set()
        self.join()
        identity = self._shared.identity()
        with suppress(*DATABASE_AWAY), unit_of_work(self._engine) as session:
            workers.retire(session, identity.id)
            leaders.resign(session, DUTY, identity.id)

    def _duties(self) -> list[_Duty]:
        return [
            _Duty(self.presence.beat, self._settings.heartbeat_seconds),
            _Duty(self.remains.close_the_dead, _OFTEN),
            _Duty(self.leader.lead, _OFTEN),
            _Duty(self.leader.follow_sweeps, _OFTEN),
            _Duty(self.leader.deliver, _OFTEN),
            _Duty(self.lookout.join_others, _OFTEN),
            _Duty(self.lookout.look, self._settings.self_poll_seconds),
            _Duty(self.leader.clean, _OFTEN),
            _Duty(self.leader.sweep_outbox, _SELDOM),
            _Duty(self.leader.seal_logs, _SELDOM),
            _Duty(self.remains.tidy, _SELDOM),
            _Duty(self.remains.forget_data, _SELDOM),
        ]


def _see_to(do: Callable[[], None]) -> None:
    try:
        do()
    except DATABASE_AWAY as error:
        _log.warning("upkeep: the database does not answer: %s", error)
    except Exception:  # noqa: BLE001 - a fault in one duty must not end the heartbeat, and with it every run
        _log.exception("upkeep: %s failed", do.__name__)
