"""The GPUs that models are served on: found, leased beside training's in the same table, and given back at the end.

Serving goes on while the database is away: a lease that cannot be kept is tried again, and says so in the log.
"""

import logging
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from control.db.session import open_engine, unit_of_work
from control.errors import SettingsError
from control.gpus import Gpu, discover, find
from control.records.scheduling import serving_slots
from control.records.scheduling.workers import NewSlot
from control.settings import Settings

log = logging.getLogger(__name__)

VISIBLE = "CUDA_VISIBLE_DEVICES"
LEASE_SECONDS = 30.0
RENEW_SECONDS = 10.0


@contextmanager
def served_on(settings: Settings) -> Iterator[list[Gpu]]:
    """Lease the GPUs that `DETCO_SERVE_GPUS` names, and let this process see no others; none named: none are seen.

    Raises:
        SettingsError: one of them is not on this machine.
    """
    gpus = chosen(settings, discover())
    with ExitStack() as stack:
        stack.enter_context(_only_visible(gpus))
        if gpus:
            engine = open_engine(settings.resolved_database_url)
            stack.callback(engine.dispose)
            keeper = Keeper(engine, settings.host_name, gpus)
            keeper.start()
            stack.callback(keeper.stop)
        yield gpus


@contextmanager
def _only_visible(gpus: Sequence[Gpu]) -> Iterator[None]:
    """Read by CUDA when a model is opened; a child whose environment was made before keeps what it was."""
    before = os.environ.get(VISIBLE)
    os.environ[VISIBLE] = ",".join(gpu.uuid for gpu in gpus)
    try:
        yield
    finally:
        if before is None:
            del os.environ[VISIBLE]
        else:
            os.environ[VISIBLE] = before


def chosen(settings: Settings, gpus: list[Gpu]) -> list[Gpu]:
    """Those of the machine's GPUs that the setting names, each once; raises `SettingsError`."""
    found = {name: find(gpus, name) for name in settings.serve_gpus}
    missing = [name for name, gpu in found.items() if gpu is None]
    if missing:
        there = ", ".join(f"{number}: {gpu.uuid}" for number, gpu in enumerate(gpus)) or "none that the driver shows"
        raise SettingsError(f"DETCO_SERVE_GPUS names {', '.join(missing)}; this machine has {there}")
    if settings.serve_device in ("cuda", "tensorrt") and not found:
        raise SettingsError(
            f"DETCO_SERVE_DEVICE is {settings.serve_device}: name a GPU to serve on by DETCO_SERVE_GPUS"
        )
    named = list(dict.fromkeys(gpu for gpu in found.values() if gpu is not None))
    if len(named) > 1:
        message = (
            "DETCO_SERVE_GPUS names %d GPUs; one server computes on the first, %s: start one for each, with its own"
        )
        log.warning(message, len(named), named[0].uuid)
    return named


class Keeper(threading.Thread):
    """Keeps the lease of some GPUs until it is stopped; conflicts are told once, when they begin."""

    def __init__(self, engine: Engine, host: str, gpus: list[Gpu], renew_seconds: float = RENEW_SECONDS) -> None:
        super().__init__(name="serving-gpus", daemon=True)
        self._engine = engine
        self._host = host
        self._slots = [
            NewSlot(uuid=gpu.uuid, purpose="serve", is_gpu=True, name=gpu.name, memory=gpu.memory) for gpu in gpus
        ]
        self._renew_seconds = renew_seconds
        self._ended = threading.Event()
        self.holder = f"{host}:{os.getpid()}"
        self.conflicts: list[str] = []
        """What is in the way now, a sentence each."""

    def start(self) -> None:
        """Take the lease, then begin to keep it."""
        self.keep()
        super().start()

    def stop(self) -> None:
        """Give the GPUs back."""
        self._ended.set()
        self.join()
        with suppress(SQLAlchemyError), unit_of_work(self._engine) as session:
            serving_slots.release(session, self._host, self.holder)

    def run(self) -> None:
        while not self._ended.wait(self._renew_seconds):
            self.keep()

    def keep(self) -> None:
        """Take or renew the lease once."""
        try:
            with unit_of_work(self._engine) as session:
                found = serving_slots.lease(session, self._host, self._slots, self.holder, LEASE_SECONDS)
        except SQLAlchemyError as error:
            log.warning("the lease of the serving GPUs is not kept: the database does not answer: %s", error)
            return
        for conflict in found:
            if conflict not in self.conflicts:
                log.error("serving shares its GPU: %s", conflict)
        self.conflicts = found
