"""One host's share of an attempt that another host leads: its processes join the leader's, and end with them.

They write no events and save no checkpoints: that is the first process of node 0, whose runner alone decides how the
attempt ends. What is asked of the run reaches these processes through those of node 0, with which they agree at every
step; only what concerns this host alone is told them directly.
"""

import logging
import subprocess
import time
from functools import partial
from pathlib import Path

from control.db.session import read_only, unit_of_work
from control.errors import StoreError
from control.records.life import shares
from control.records.life.leases import Outcome
from control.records.life.shares import Meeting
from detco_core.contract.errors import DetcoError
from worker.addresses import interface_environment, own_address
from worker.attempts import discard
from worker.background import in_background
from worker.disk import is_full
from worker.holds import hold_of
from worker.inputs import Prepared, prepare
from worker.launch import Command, Post, job_command, job_environment, launch, log_tail
from worker.lease import Lease
from worker.logs import ship_rest
from worker.orders import Orders
from worker.outages import DATABASE_AWAY, RETRY_SECONDS
from worker.processes import Leash, Mark, ask_to_leave, clean_up, end
from worker.services import Services
from worker.verdicts import how_it_ended

EXIT_CLOSED = 0
"""The share is ended, or was ended by another."""
EXIT_OPEN = 1
"""Whoever holds the leash must see to it."""

_TICK = 0.1
_PULSE = 0.5

_log = logging.getLogger(__name__)


class Follower:
    """Sees one share from its claimed row to its ended one."""

    def __init__(
        self, services: Services, mark: Mark, folder: Path, leash: int, command: Command = job_command
    ) -> None:
        self._services = services
        self._mark = mark
        self._folder = folder
        self._command = command
        self._unpacked = services.unpacked()
        self._lease = Lease(services.engine, mark, services.settings)
        self.orders = Orders(self._lease, leash, services.settings.shutdown_seconds)

    def run(self) -> int:
        """The whole share; returns `EXIT_CLOSED` or `EXIT_OPEN`."""
        self._lease.start()
        try:
            ready = self._prepare()
        except DetcoError as error:
            return self._close(Outcome(kind="failed", message=str(error)))
        if ready is None:
            return self._close(Outcome(kind="preempted", message="it had to leave before it began"))
        return self._close(self._outcome(self._work(*ready)))

    def _prepare(self) -> tuple[Prepared, Meeting] | None:
        """Wait for node 0's word and fill the folder; None when there is nothing to start any more."""
        inputs = in_background(self._bring_inputs, "inputs")
        while not inputs.done():
            if self.orders.deadline() is not None:
                return None
            time.sleep(_TICK)
        return inputs.result()

    def _bring_inputs(self) -> tuple[Prepared, Meeting]:
        engine = self._services.engine
        while True:
            try:
                with read_only(engine) as session:
                    meeting = shares.meeting_of(session, self._mark.run, self._mark.fence)
                if meeting is not None:
                    return prepare(engine, self._services.place, self._unpacked, self._mark, self._folder), meeting
                time.sleep(_PULSE)
            except (StoreError, *DATABASE_AWAY) as error:
                _log.warning("%s %s waits for its inputs: %s", self._mark.run, self._mark.name, error)
                time.sleep(RETRY_SECONDS)
            except OSError as error:
                if not is_full(error):
                    raise
                _log.warning("%s %s waits for room: %s", self._mark.run, self._mark.name, error)
                time.sleep(RETRY_SECONDS)

    def _work(self, prepared: Prepared, meeting: Meeting) -> int | None:
        """Run this host's processes to their end; their launcher's exit code."""
        leash = Leash()
        post = Post(self._mark.node, prepared.nodes, meeting.endpoint, f"{self._mark.run}-{self._mark.fence}")
        environment = job_environment(self._mark, prepared.gpus, prepared.threads)
        environment |= interface_environment(own_address(self._services.settings))
        command = self._command(prepared.verb, prepared.processes, post)
        launcher = launch(command, self._folder, environment, leash)
        self._lease.announce()
        try:
            self._supervise(launcher)
        finally:
            leash.let_go()
            clean_up(self._mark.run)
        return launcher.returncode

    def _supervise(self, launcher: "subprocess.Popen[bytes]") -> None:
        asked = False
        while launcher.poll() is None:
            deadline = self.orders.deadline()
            if deadline is not None and time.monotonic() >= deadline:
                end(launcher)
                return
            if deadline is not None and not asked:
                ask_to_leave(launcher, launcher=True)
                asked = True
            time.sleep(_TICK)

    def _outcome(self, exit_code: int | None) -> Outcome:
        ended = partial(
            Outcome,
            exit_code=exit_code if exit_code is None or exit_code >= 0 else None,
            log_tail=log_tail(self._folder),
        )
        if exit_code == 0:
            return ended(kind="completed")
        if self.orders.is_leaving:
            return ended(kind="preempted", message="it had to leave its worker")
        if self._lease.is_stale or self._lease.wanted == "kill":
            return ended(kind="stopped", message="its attempt had ended")
        how = "not at all" if exit_code is None else how_it_ended(exit_code)
        return ended(kind="failed", message=f"its processes ended {how}")

    def _close(self, outcome: Outcome) -> int:
        """Say that nothing of the share is left here, so that its slots are free; also after the attempt's end."""
        while True:
            try:
                ship_rest(self._services.engine, self._mark, self._folder, self._services.settings.log_bytes)
                with unit_of_work(self._services.engine) as session:
                    ended = hold_of(self._mark).close(session, outcome)
            except DATABASE_AWAY as error:
                _log.warning("%s %s waits to be ended: %s", self._mark.run, self._mark.name, error)
                patience = self.orders.patience()
                if patience is not None and time.monotonic() > patience:
                    return EXIT_OPEN
                time.sleep(RETRY_SECONDS)
                continue
            self._lease.leave()
            if ended:
                _log.info("%s %s: %s %s", self._mark.run, self._mark.name, outcome.kind, outcome.message or "")
            discard(self._folder)
            return EXIT_CLOSED
