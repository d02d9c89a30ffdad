"""One host's share of an attempt that another host leads: its processes join the leader's, and end with them.

They write no events and save no checkpoints: that is the first process of node 0, whose runner alone decides how the
attempt ends. What is asked of the run reaches these processes through those of node 0, with which they agree at every
step; only what concerns this host alone is told them directly.
"""

import logging
import subprocess
import time
from functools import partial

from control.db.session import read_only, unit_of_work
from control.records.life import shares
from control.records.life.leases import Outcome
from control.records.life.shares import Meeting
from detco_core.contract.errors import DetcoError
from worker.attempts.assignment import EXIT_CLOSED, EXIT_OPEN, TICK, Assignment
from worker.attempts.folder import discard
from worker.attempts.holds import hold_of
from worker.attempts.verdicts import how_it_ended
from worker.inputs.prepare import Prepared
from worker.launch import Post, log_tail
from worker.outages import DATABASE_AWAY, RETRY_SECONDS
from worker.output.log_feed import LogFeed
from worker.output.logs import LogShipper, ship_rest
from worker.processes import ask_to_leave, end

_log = logging.getLogger(__name__)


class Follower:
    """Sees one share from its claimed row to its ended one."""

    def __init__(self, assignment: Assignment) -> None:
        self._assignment = assignment
        self._services = assignment.services
        self._mark = assignment.mark
        self._folder = assignment.folder
        self._lease = assignment.lease
        self._orders = assignment.orders

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
        return self._assignment.await_inputs(self._bring_inputs, self._is_off)

    def _is_off(self) -> bool:
        return self._orders.deadline() is not None

    def _bring_inputs(self) -> tuple[Prepared, Meeting] | None:
        with read_only(self._services.engine) as session:
            meeting = shares.meeting_of(session, self._mark.run, self._mark.fence)
        return None if meeting is None else (self._assignment.prepare(), meeting)

    def _work(self, prepared: Prepared, meeting: Meeting) -> int | None:
        """Run this host's processes to their end; their launcher's exit code."""
        post = Post(self._mark.node, prepared.nodes, meeting.endpoint, f"{self._mark.run}-{self._mark.fence}")
        log = self._ship_log()
        try:
            return self._assignment.work(prepared, post, self._supervise)
        finally:
            log.finish()

    def _ship_log(self) -> LogFeed:
        services = self._services
        shipper = LogShipper(services.engine, services.store, self._mark, self._folder, services.settings.log_bytes)
        feed = LogFeed(shipper)
        feed.start()
        return feed

    def _supervise(self, launcher: "subprocess.Popen[bytes]") -> None:
        asked = False
        while launcher.poll() is None:
            deadline = self._orders.deadline()
            if deadline is not None and time.monotonic() >= deadline:
                end(launcher)
                return
            if deadline is not None and not asked:
                ask_to_leave(launcher, launcher=True)
                asked = True
            time.sleep(TICK)

    def _outcome(self, exit_code: int | None) -> Outcome:
        ended = partial(
            Outcome,
            exit_code=exit_code if exit_code is None or exit_code >= 0 else None,
            log_tail=log_tail(self._folder),
        )
        if exit_code == 0:
            return ended(kind="completed")
        if self._orders.is_leaving:
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
                patience = self._orders.patience()
                if patience is not None and time.monotonic() > patience:
                    return EXIT_OPEN
                time.sleep(RETRY_SECONDS)
                continue
            self._lease.leave()
            if ended:
                _log.info("%s %s: %s %s", self._mark.run, self._mark.name, outcome.kind, outcome.message or "")
            discard(self._folder)
            return EXIT_CLOSED
