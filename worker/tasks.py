"""What a wake-up leads to: claim the best run there is, start its runner, stay with it, then look for the next.

This runs in Celery's pool processes, and, when the broker is silent, in a process of its own:
`python -m worker.tasks QUEUE WORKER HOST LEASH`. Either holds the leash of one runner at a time, and is a sub-reaper,
so that whatever a killed runner leaves comes to it.
"""

import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Literal

from sqlalchemy import Engine

from control.db.session import open_engine, unit_of_work
from control.gpus import Gpu, discover, visible
from control.log import configure
from control.records.life import shares
from control.records.life.leases import Outcome
from control.records.runs.kinds import Queue
from control.records.scheduling import claims, workers
from control.records.scheduling.claims import Claim
from control.records.scheduling.workers import WorkerIdentity
from control.settings import Settings, load_settings
from worker.attempts.folder import attempt_folder, occupy, open_folder, trim
from worker.attempts.holds import hold_of
from worker.attempts.spans import tell_of
from worker.host.gpus import offered
from worker.launch import log_tail, package_environment
from worker.outages import DATABASE_AWAY, RETRY_SECONDS
from worker.output.logs import ship_rest
from worker.processes import (
    Leash,
    Mark,
    become_subreaper,
    descendants,
    is_let_go,
    marked,
    reap_orphans,
    start,
    sweep,
)

RUNNER = (sys.executable, "-m", "worker.runner")

_TICK = 0.2
_PATIENCE_SHARE = 0.9
"""Of the seconds a leaving worker has: for a runner to end by itself."""

_log = logging.getLogger(__name__)


class Attendant:
    """Claims runs for one worker and stays with their runners, one at a time."""

    def __init__(
        self,
        settings: Settings,
        identity: Callable[[], WorkerIdentity],
        is_stopping: Callable[[], bool],
        runner: Sequence[str] = RUNNER,
        gpus: Callable[[], Sequence[Gpu]] = tuple,
    ) -> None:
        self._settings = settings
        self._identity = identity
        self._is_stopping = is_stopping
        self._runner = runner
        self._gpus = gpus

    @cached_property
    def engine(self) -> Engine:
        # Opened in the process that uses it: a database connection does not survive a fork.
        return open_engine(self._settings.resolved_database_url)

    def work(self, queue: Queue) -> int:
        """Work until nothing is left to claim, or the worker leaves; returns the attempts made."""
        attempts = 0
        while not self._is_stopping() and (claim := self._claim(queue)) is not None:
            self._attend(claim)
            attempts += 1
        return attempts

    def _claim(self, queue: Queue) -> Claim | None:
        # Are they really free? A stranger may have come since the last heartbeat.
        gpus = self._gpus() if queue == "gpu" else ()
        try:
            if gpus:
                with unit_of_work(self.engine) as session:
                    workers.offer_slots(session, self._settings.host_name, offered(self._settings, gpus))
            with unit_of_work(self.engine) as session:
                worker, seconds = self._identity(), self._settings.lease_seconds
                share = shares.take_share(session, worker, seconds) if queue == "gpu" else None
                return share or claims.claim(session, worker, queue, seconds)
        except DATABASE_AWAY as error:
            _log.warning("cannot look for work: the database does not answer: %s", error)
            return None

    def _attend(self, claim: Claim) -> None:
        mark = Mark(claim.run_id, claim.fence, claim.node)
        _log.info("%s %s begins on %s", mark.run, mark.name, ", ".join(claim.slots))
        try:
            runner, leash = self._start(mark)
        except OSError as error:
            self._close(mark, f"its runner could not be started: {error}")
            return
        self._stay_with(runner, leash)
        for survivor in sweep(lambda: [*descendants(), *marked(mark)]):
            _log.error("%s: process %d cannot be ended", mark.run, survivor.pid)
        reap_orphans()
        if runner.returncode != 0:
            self._close(mark, f"its runner ended with exit code {runner.returncode}")

    def _start(self, mark: Mark) -> "tuple[subprocess.Popen[bytes], Leash]":
        folder = open_folder(self._settings.work_dir, mark)
        leash, lock = Leash(), occupy(folder)
        environment = package_environment() | mark.environment()
        command = [*self._runner, *map(str, mark), str(leash.fd)]
        try:
            return start(command, folder=folder, environment=environment, leash=leash, keep=[lock]), leash
        finally:
            os.close(lock)  # from here on the runner alone holds it

    def _stay_with(self, runner: "subprocess.Popen[bytes]", leash: Leash) -> None:
        """Wait for the runner's end; when the worker leaves, tell it so and end it when it takes too long."""
        give_up: float | None = None
        while runner.poll() is None:
            if give_up is None and self._is_stopping():
                leash.let_go()
                give_up = time.monotonic() + self._settings.shutdown_seconds * _PATIENCE_SHARE
            if give_up is not None and time.monotonic() > give_up:
                runner.kill()
            time.sleep(_TICK)
        leash.let_go()

    def _close(self, mark: Mark, why: str) -> None:
        """Close what a dead runner left open; leaves it to the reaper when the database stays away."""
        folder = attempt_folder(self._settings.work_dir, mark)
        kind: Literal["lost", "preempted"] = "preempted" if self._is_stopping() else "lost"
        outcome = Outcome(kind=kind, message=why, log_tail=log_tail(folder))
        give_up = time.monotonic() + self._settings.lease_seconds
        while True:
            try:
                ship_rest(self.engine, mark, folder, self._settings.log_bytes)
                with unit_of_work(self.engine) as session:
                    closed = hold_of(mark).close(session, outcome)
            except DATABASE_AWAY as error:
                _log.warning("%s waits to be closed as %s: %s", mark.run, kind, error)
                if self._is_stopping() or time.monotonic() > give_up:
                    return
                time.sleep(RETRY_SECONDS)
            else:
                _log.warning("%s %s: %s, %s", mark.run, mark.name, kind, why)
                trim(folder)
                if closed:
                    tell_of(self.engine, mark)
                return


def main(arguments: list[str], runner: Sequence[str] = RUNNER) -> int:
    """Take work of one queue without any broker, until there is none."""
    queue, worker, host, leash = arguments
    settings = load_settings()
    configure(settings.log_level)
    become_subreaper()
    identity = WorkerIdentity(id=worker, host=host)
    devices = os.environ.get("CUDA_VISIBLE_DEVICES")
    attendant = Attendant(
        settings, lambda: identity, lambda: is_let_go(int(leash)), runner, lambda: visible(discover(), devices)
    )
    attendant.work("gpu" if queue == "gpu" else "cpu")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
