"""That a worker is there: announced with the slots of its host, then said again and again."""

import os

from sqlalchemy import Engine

from control.db.session import unit_of_work
from control.gpus import Gpu, discover, visible
from control.records.scheduling import drains, workers
from control.records.scheduling.workers import NewWorker
from control.settings import Settings
from detco_core import __version__
from worker.host.gpus import offered
from worker.upkeep.shared import Shared


class Presence:
    """Registers this worker and keeps its row and its slots as they are; `shared` learns which row is its own."""

    def __init__(self, settings: Settings, engine: Engine, shared: Shared, visible_devices: str | None = None) -> None:
        self._settings = settings
        self._engine = engine
        self._shared = shared
        self._visible_devices = visible_devices
        self._has_gpus = False

    def register(self) -> int:
        """Announce this worker and the slots of its host; returns how many slots there are.

        Raises:
            OperationalError, InterfaceError: the database is away.
        """
        gpus = self._gpus()
        self._has_gpus = bool(gpus)
        slots = offered(self._settings, gpus)
        new = NewWorker(
            host=self._settings.host_name,
            pid=os.getpid(),
            software=__version__,
            roots=self._settings.resolved_dataset_roots,
            slots=slots,
        )
        with unit_of_work(self._engine) as session:
            self._shared.become(workers.register(session, new))
        return sum(slot.purpose != "serve" for slot in slots)

    def beat(self) -> None:
        """Say that this worker lives, and which of its GPUs are free for us."""
        gpus = self._gpus()
        with unit_of_work(self._engine) as session:
            identity = self._shared.identity()
            known = workers.heartbeat(session, identity.id) is not None
            if drains.is_preempting(session, identity.id):
                drains.evict(session, identity.id)
        if not known:
            self.register()
        # A driver that does not answer for once must not turn a GPU host into a CPU one.
        elif bool(gpus) == self._has_gpus:
            # In a transaction of its own: a claim locks slots first and the worker's row last.
            with unit_of_work(self._engine) as session:
                workers.offer_slots(session, self._settings.host_name, offered(self._settings, gpus))

    def _gpus(self) -> list[Gpu]:
        return visible(discover(), self._visible_devices)
