"""The worker as a Celery application: pool processes that follow wake-ups, and the upkeep beside them.

Celery's own answer to signals is not used: it either waits for running tasks for hours (warm) or kills its pool and
orphans what runs below it (cold). Here SIGTERM, SIGINT and SIGHUP all mean: tell the pool through shared memory; its
processes let go of their runners, whose jobs save and leave; then every task has ended, and Celery's warm shutdown has
nothing to wait for. Whoever is not gone in time is killed (docs/decisions/021).
"""

import logging
import os
import signal
import threading
import time
import uuid
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import billiard.pool
from celery import Celery, bootsteps, signals
from celery.apps.worker import Worker
from celery.exceptions import SecurityWarning
from celery.worker import state
from sqlalchemy import Engine

from control.bus import broker_trouble
from control.db.migrate import at_head, upgrade
from control.db.session import open_engine
from control.errors import SettingsError
from control.gpus import discover, visible
from control.jobs import QUEUES, UPKEEP, WORK, make_celery, relay
from control.settings import Settings
from worker.outages import DATABASE_AWAY, RETRY_SECONDS
from worker.processes import WORKER_MARK, become_subreaper, descendants, of_worker, require_parent, sweep
from worker.tasks import RUNNER, Attendant
from worker.upkeep.shared import Shared
from worker.upkeep.standins import STAND_IN, StandIns
from worker.upkeep.thread import Upkeep

SPARE_PROCESSES = 2
"""Pool processes beyond the slots, so that a wake-up always finds one, however many runs are under way."""

_TICK = 0.1
_HEARD_TRIES = 5
"""Of a tenth of a second each: a pool process that ends waits so long for its last word to be heard."""

_log = logging.getLogger(__name__)


def make_app(settings: Settings, attendant: Attendant) -> Celery:
    """The Celery application whose tasks are done by `attendant`."""
    celery = make_celery(settings)

    @celery.task(name=WORK)  # type: ignore[untyped-decorator]  # Celery has no types
    def work(queue: str) -> None:
        attendant.work("gpu" if queue == "gpu" else "cpu")

    @celery.task(name=UPKEEP)  # type: ignore[untyped-decorator]  # Celery has no types
    def upkeep(queue: str) -> None:
        relay(attendant.engine, celery)

    return celery


def serve(settings: Settings, runner: Sequence[str] = RUNNER, stand_in: Sequence[str] = STAND_IN) -> int:
    """Work until a signal says to leave, or Celery gives up; returns the exit status, 0 after a signal.

    Raises:
        SettingsError: the database is not of this version, and is not ours to migrate.
    """
    start = uuid.uuid4().hex
    os.environ[WORKER_MARK] = start  # inherited by every runner and stand-in, and by all they start
    shared = Shared(settings.host_name)
    leave = _answer_signals(shared)
    threading.Thread(target=_guard, args=(settings, shared, start), name="guard", daemon=True).start()
    if (trouble := broker_trouble(settings)) is not None:
        _log.warning("the broker: %s", trouble)
    devices = os.environ.get("CUDA_VISIBLE_DEVICES")
    attendant = Attendant(settings, shared.identity, shared.is_stopping, runner, lambda: visible(discover(), devices))
    celery = make_app(settings, attendant)
    engine = open_engine(settings.resolved_database_url)
    stand_ins = StandIns(settings.work_dir, stand_in)
    upkeep = Upkeep(settings, engine, celery, shared, stand_ins, devices, leave)
    slots = _register(settings, engine, upkeep, shared)
    if slots is not None:
        master = _pool_master(celery, slots + SPARE_PROCESSES, upkeep, shared)
        master.start()
        _wait_for_the_last(start)
        upkeep.retire()
        return os.EX_TEMPFAIL if upkeep.lookout.has_stalled else int(master.exitcode or os.EX_OK)
    return os.EX_OK


class _PoolMaster(Worker):  # type: ignore[misc]  # Celery has no types
    """Celery's worker, with the signal handlers that `serve` installed.

    When Celery ends by itself, because of an error, its pool is told as if a signal had come: it would stay with its
    runs for hours, in a worker that hears nothing any more.
    """

    def __init__(self, shared: Shared, **options: Any) -> None:
        self._shared = shared
        super().__init__(**options)

    def stop(self, in_sighandler: bool = False, exitcode: int | None = None) -> None:
        self._shared.stop()
        super().stop(in_sighandler, exitcode)

    def install_platform_tweaks(self, worker: object) -> None:
        pass


class _UpkeepStep(bootsteps.StartStopStep):  # type: ignore[misc]  # Celery has no types
    """Starts the upkeep once the pool is forked, whether or not the broker ever answers."""

    requires = ("celery.worker.components:Pool",)

    def __init__(self, parent: object, upkeep: Upkeep, **options: Any) -> None:
        super().__init__(parent, **options)
        self._upkeep = upkeep

    def start(self, parent: object) -> None:
        self._upkeep.start()

    def stop(self, parent: object) -> None:
        pass  # It goes on while the pool empties; `serve` ends it.

    terminate = stop


def _pool_master(celery: Celery, processes: int, upkeep: Upkeep, shared: Shared) -> Worker:
    # It warns root of pickled messages; ours are JSON.
    warnings.filterwarnings("ignore", category=SecurityWarning)
    # Logging is set up already; a receiver keeps Celery from doing it its own way.
    signals.setup_logging.connect(_leave_logging_alone)
    signals.worker_process_init.connect(partial(_begin_pool_process, os.getpid()), weak=False)
    celery.steps["worker"].add(_UpkeepStep)
    return _PoolMaster(
        shared,
        app=celery,
        upkeep=upkeep,
        pool="prefork",
        concurrency=processes,
        queues=list(QUEUES),
        quiet=True,
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
    )


def _leave_logging_alone(**_: object) -> None:
    pass


def _begin_pool_process(master: int, **_: object) -> None:
    # Celery has just asked the kernel to kill this process when the master ends. One that ended before is never told
    # of, and its pool would wait for ever for a lock that a sister took along (docs/decisions/021).
    require_parent(master)
    become_subreaper()
    # Celery that stops forgets a wake-up which no pool process has accepted yet. Whoever then accepts it waits half a
    # minute for Celery to hear of its end: longer than the worker has for leaving.
    billiard.pool.GUARANTEE_MESSAGE_CONSUMPTION_RETRY_LIMIT = _HEARD_TRIES


def _register(settings: Settings, engine: Engine, upkeep: Upkeep, shared: Shared) -> int | None:
    """Wait for the database and announce this worker; its slots, None when a signal came first."""
    settings.work_dir.mkdir(parents=True, exist_ok=True)
    while not shared.is_stopping():
        try:
            _see_to_tables(settings, engine)
            return upkeep.presence.register()
        except DATABASE_AWAY as error:
            _log.warning("waiting for the database: %s", error)
            time.sleep(RETRY_SECONDS)
        finally:
            engine.dispose()  # no connection may be open when the pool is forked
    return None


def _see_to_tables(settings: Settings, engine: Engine) -> None:
    if settings.embedded:
        upgrade(engine)
    elif not at_head(engine):
        raise SettingsError("the database has not the tables of this version: run `detco migrate` first")


def _answer_signals(shared: Shared) -> Callable[[], None]:
    """Let signals mean that the worker leaves; returns what they do."""

    def leave(*_: object) -> None:
        shared.stop()
        state.should_stop = os.EX_OK

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, leave)
    return leave


def _wait_for_the_last(start: str) -> None:
    """Wait for runners whose pool process is gone already; the guard ends a wait that takes too long."""
    while of_worker(start):
        time.sleep(_TICK)


def _guard(settings: Settings, shared: Shared, start: str) -> None:
    """Once a signal came, kill whatever is still there when the time is over, this process last."""
    while not shared.is_stopping():
        time.sleep(_TICK)
    time.sleep(settings.shutdown_seconds)
    _log.error("not gone after %.0f s: killing what is left", settings.shutdown_seconds)
    sweep(lambda: [*descendants(), *of_worker(start)], timeout=2.0)
    os._exit(os.EX_SOFTWARE)
