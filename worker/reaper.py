"""The upkeep of a worker, in a thread of its main process: what must happen although nobody asks for it.

For this worker: its heartbeat, a look at the queue without any wake-up, and the attempts whose runner died together
with whoever stayed with it. For the whole service, by one leader: runs whose lease ended, wake-ups that are owed.
"""

import logging
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from celery import Celery
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from control.db.session import read_only, unit_of_work
from control.gpus import Gpu, discover, visible
from control.jobs import relay, wake
from control.records import leaders, outbox
from control.records.access import audit, idempotency
from control.records.datasets import datasets
from control.records.life import leases, shares
from control.records.life.leases import Outcome
from control.records.runs.runs import Queue, is_deleted
from control.records.scheduling import claims, drains, preemption, serving_slots, workers
from control.records.scheduling.workers import NewWorker
from control.records.store import uploads
from control.records.sweeps import sweeps
from control.records.webhooks import deliveries
from control.settings import Settings
from control.storage.open import open_store
from detco_core import __version__
from worker.attempts import all_folders, attempt_folder, discard, is_occupied, is_old, trim
from worker.cleaning import Cleaning
from worker.courier import Courier
from worker.gpus import offered
from worker.holds import hold_of
from worker.launch import log_tail
from worker.logs import seal_ended, ship_rest
from worker.outages import DATABASE_AWAY
from worker.processes import Mark, marked, sweep
from worker.shared import Shared
from worker.standins import StandIns
from worker.unpacked import Unpacked
from worker.watchdog import Watchdog

QUEUES: tuple[Queue, ...] = ("gpu", "cpu")
DUTY = "upkeep"

_TICK = 0.2
_OFTEN = 1.0
_SELDOM = 60.0
_CALL_AGAIN = 10.0
"""Seconds after which a share that was not taken up is seen to again."""

_IN_TOUCH_SECONDS = 10.0
"""A database that was away must have answered for so long before a run is taken back: every runner that lives has
renewed its lease by then. It tries each second, and a try takes five at most."""

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Duty:
    """Something to be done every so many seconds."""

    do: Callable[[], None]
    every: float
    due: float = 0.0


class Upkeep(threading.Thread):
    """The thread; `register` comes before it, `retire` after it."""

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
        self._celery = celery
        self._shared = shared
        self._stand_ins = stand_ins
        self._visible_devices = visible_devices
        self._has_gpus = False
        self._ended = threading.Event()
        self._leads = False
        self._in_touch_since: float | None = None
        """Since when the database has answered without a break."""
        self._courier = Courier(settings, engine)
        self._cleaning = Cleaning(settings, engine, open_store(settings))
        self._passed_over: set[Queue] = set()
        self._watchdog = Watchdog(settings.stall_seconds)
        self._give_up = give_up
        self.has_stalled = False
        """Whether the worker leaves because work it could take was left untouched."""
        self._suspects: set[Mark] = set()
        self._called: dict[tuple[str, int], float] = {}

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

    def retire(self) -> None:
        """End the thread and say that this worker has ended."""
        self._ended.set()
        self.join()
        identity = self._shared.identity()
        with suppress(*DATABASE_AWAY), unit_of_work(self._engine) as session:
            workers.retire(session, identity.id)
            leaders.resign(session, DUTY, identity.id)

    def run(self) -> None:
        duties = [
            _Duty(self.beat, self._settings.heartbeat_seconds),
            _Duty(self.close_the_dead, _OFTEN),
            _Duty(self.lead, _OFTEN),
            _Duty(self.follow_sweeps, _OFTEN),
            _Duty(self.deliver, _OFTEN),
            _Duty(self.join_others, _OFTEN),
            _Duty(self.look, self._settings.self_poll_seconds),
            _Duty(self.clean, _OFTEN),
            _Duty(self.sweep_outbox, _SELDOM),
            _Duty(self.seal_logs, _SELDOM),
            _Duty(self.tidy, _SELDOM),
            _Duty(self.forget_data, _SELDOM),
        ]
        while not self._ended.wait(_TICK):
            if self._shared.is_stopping():
                self._stand_ins.let_go()
            self._stand_ins.tend()
            for duty in duties:
                if time.monotonic() >= duty.due:
                    duty.due = time.monotonic() + duty.every
                    _see_to(duty.do)

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

    def look(self) -> None:
        """See to work that waits: by a wake-up first, by a stand-in when the broker did not take or deliver it."""
        identity = self._shared.identity()
        for queue in QUEUES:
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
        with unit_of_work(self._engine) as session:
            workers.note_look(session, identity.id)

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

    def lead(self) -> None:
        """As the leader: take back what nobody holds any more, and send the wake-ups that are owed."""
        begun, since = time.monotonic(), self._in_touch_since
        self._in_touch_since = None  # and so it stays when the database is away
        is_settled = since is not None and begun - since >= _IN_TOUCH_SECONDS
        with unit_of_work(self._engine) as session:
            self._leads = leaders.lead(session, DUTY, self._shared.identity().id)
            reaped = self._take_back(session) if self._leads and is_settled else []
            asked = preemption.arrange(session, self._patience()) if self._leads else []
        for run_id in reaped:
            _log.warning("%s was taken back: its lease had ended", run_id)
        for run_id in asked:
            _log.info("%s was asked to make room", run_id)
        was_prompt = time.monotonic() - begun < _OFTEN * 2
        self._in_touch_since = since if since is not None and was_prompt else time.monotonic()
        if self._leads:
            relay(self._engine, self._celery)

    def follow_sweeps(self) -> None:
        """As the leader: submit the evaluations of the runs that sweeps have completed."""
        if self._leads:
            with read_only(self._engine) as session:
                due = sweeps.evaluations_due(session)
            if due:
                with unit_of_work(self._engine) as session:
                    sweeps.evaluate_completed(session)

    def deliver(self) -> None:
        """As the leader: send what webhooks are owed, in threads of its own."""
        if self._leads:
            self._courier.tend()

    def forget_data(self) -> None:
        """Remove what lies here of uploads and of data sets in S3 that were deleted."""
        unpacked = Unpacked(self._settings.data_dir / "cache", self._settings)
        here = [f"sha256:{name}" for name in unpacked.kept()]
        with read_only(self._engine) as session:
            gone = set(here) - uploads.known(session, here) if here else set()
            roots = datasets.remote_roots(session)
        for digest in gone:
            unpacked.forget(digest)
        unpacked.forget_objects(roots)

    def sweep_outbox(self) -> None:
        """As the leader: repeat wake-ups nobody followed, and forget what is old."""
        if self._leads:
            with unit_of_work(self._engine) as session:
                outbox.sweep(session)
                idempotency.forget_old(session)
                uploads.give_up(session)
                deliveries.forget_old(session)
                audit.forget_old(session, self._settings.audit_days)

    def seal_logs(self) -> None:
        """As the leader: bring to the store what ended attempts have left of their logs in the tables."""
        if self._leads:
            seal_ended(self._engine, open_store(self._settings), self._settings.work_dir)

    def clean(self) -> None:
        """As the leader: delete what is not kept."""
        if self._leads:
            self._cleaning.tend()

    def close_the_dead(self) -> None:
        """Close attempts of this host whose runner is dead, when that was seen twice: their folder is not locked.

        Usually whoever stayed with the runner does so; this is for when that process was killed too.
        """
        with read_only(self._engine) as session:
            host = self._settings.host_name
            held = [*leases.held_on(session, host), *shares.held_on(session, host)]
        marks = (Mark(run.run_id, run.fence, run.node) for run in held)
        suspects = {mark for mark in marks if self._is_deserted(mark)}
        for mark in suspects & self._suspects:
            self._close(mark)
        self._suspects = suspects

    def tidy(self) -> None:
        """End what is left of attempts nobody holds any more, trim their folders, and remove old ones."""
        for mark, folder in all_folders(self._settings.work_dir):
            if is_occupied(folder):
                continue
            with read_only(self._engine) as session:
                held = hold_of(mark).look(session) is not None
                is_gone = is_deleted(session, mark.run)
            if not held:
                sweep(lambda mark=mark: marked(mark))  # type: ignore[misc]  # mypy cannot infer a lambda's default
                ship_rest(self._engine, mark, folder, self._settings.log_bytes)
                trim(folder)
                if is_gone or is_old(folder):
                    discard(folder)

    def _patience(self) -> float:
        """Seconds that saving, closing, and the next claim may take together."""
        settings = self._settings
        return settings.grace_seconds + settings.lease_seconds + settings.self_poll_seconds

    def _gpus(self) -> list[Gpu]:
        return visible(discover(), self._visible_devices)

    def _take_back(self, session: Session) -> list[str]:
        serving_slots.reap(session)
        # A share's slots wait for the grace: nothing but the end of its processes makes its GPUs free.
        return [*leases.reap(session), *shares.reap(session, self._settings.grace_seconds)]

    def _is_deserted(self, mark: Mark) -> bool:
        # No folder: it is another data folder's attempt, or not begun.
        folder = attempt_folder(self._settings.work_dir, mark)
        return folder.is_dir() and not is_occupied(folder)

    def _close(self, mark: Mark) -> None:
        sweep(lambda: marked(mark))
        folder = attempt_folder(self._settings.work_dir, mark)
        ship_rest(self._engine, mark, folder, self._settings.log_bytes)
        outcome = Outcome(kind="lost", message="its runner and worker were killed", log_tail=log_tail(folder))
        with unit_of_work(self._engine) as session:
            closed = hold_of(mark).close(session, outcome)
        if closed:
            _log.warning("%s %s: lost, its runner and worker were killed", mark.run, mark.name)
            trim(folder)


def _see_to(do: Callable[[], None]) -> None:
    try:
        do()
    except DATABASE_AWAY as error:
        _log.warning("upkeep: the database does not answer: %s", error)
    except Exception:  # noqa: BLE001 - a fault in one duty must not end the heartbeat, and with it every run
        _log.exception("upkeep: %s failed", do.__name__)
