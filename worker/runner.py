"""`python -m worker.runner RUN FENCE NODE LEASH`: one attempt of one run, in a process of its own.

It prepares the attempt's folder, starts the job there as its only child, and stays with it: reads what it says, keeps
its lease, stops it when told, and when it has ended sweeps every descendant and closes the attempt. The main thread
only looks after the process: it never waits for database or store while the job lives.
"""

import logging
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace

from control.bus import run_topic
from control.db.session import unit_of_work
from control.log import configure
from control.records.life import feed, shares
from control.records.life.leases import Outcome
from control.records.life.shares import Meeting
from control.settings import load_settings
from detco_core.contract.errors import DetcoError
from detco_core.contract.jobs import EVENTS_FILE
from worker.attempts.assignment import EXIT_CLOSED, EXIT_OPEN, TICK, Assignment
from worker.attempts.folder import discard, open_folder, trim
from worker.attempts.follower import Follower
from worker.attempts.holds import hold_of
from worker.attempts.services import open_services
from worker.attempts.silence import Silence
from worker.attempts.spans import tell_of
from worker.attempts.verdicts import End, verdict
from worker.host.addresses import free_endpoint, own_address
from worker.host.disk import complaint, no_room
from worker.host.oom import oom_kills
from worker.inputs.prepare import Prepared
from worker.launch import Command, Post, job_command, log_tail
from worker.outages import DATABASE_AWAY, RETRY_SECONDS
from worker.output.logs import LogShipper
from worker.output.sink import Feed, Sink
from worker.processes import Mark, ask_to_leave, become_subreaper, clean_up, cpu_seconds_of_children, end

_CLOSING_SECONDS = 5.0
"""For storing and closing after a job that had to go, even when it used all of its time."""

_log = logging.getLogger(__name__)


class Runner:
    """Sees one attempt from its claimed row to its closed one."""

    def __init__(self, assignment: Assignment) -> None:
        self._assignment = assignment
        self._services = services = assignment.services
        self._mark = mark = assignment.mark
        self._folder = folder = assignment.folder
        self._lease = assignment.lease
        self._orders = assignment.orders
        self._sink = Sink(services.engine, services.store, services.bus, mark, folder)
        shipper = LogShipper(services.engine, services.store, mark, folder, services.settings.log_bytes)
        self._feed = Feed(self._sink, shipper)
        self._asked = False
        self._has_told = False
        """Whether the run's readers know that it waits for room."""

    def run(self) -> int:
        """The whole attempt; returns `EXIT_CLOSED` or `EXIT_OPEN`."""
        self._lease.start()
        try:
            ready = self._prepare()
        except DetcoError as error:
            return self._close(Outcome(kind="failed", error_kind="user", message=str(error)))
        if ready is None:
            return self._close(self._judge(End(began=False)))
        prepared, post = ready
        self._sink.known_as = prepared.known_as
        killed_before = oom_kills()
        exit_code = self._work(prepared, post)
        disk_full = complaint(self._services.settings.work_dir)  # before what it saved leaves the folder for the store
        oom_killed = oom_kills() > killed_before
        all_taken = self._take_the_rest()
        end_of_it = End(
            exit_code=exit_code,
            began=not self._asked or self._sink.last_seq > 0,
            all_taken=all_taken,
            oom_killed=oom_killed,
            disk_full=disk_full,
            fault=self._feed.fault,
            log_tail=log_tail(self._folder),
            verb=prepared.verb,
        )
        return self._close(self._judge(end_of_it))

    def _judge(self, end_of_it: End) -> Outcome:
        return verdict(self._sink, self._orders, end_of_it, self._lease.trouble)

    def _prepare(self) -> tuple[Prepared, Post | None] | None:
        """Fill the folder; None when the job is not to start any more."""
        return self._assignment.await_inputs(self._bring_inputs, self._is_off, self._warn_of_full_disk)

    def _is_off(self) -> bool:
        # Who wants the run finished wants a checkpoint saved, and that takes a job.
        return self._orders.deadline() is not None and not self._orders.only_finish

    def _bring_inputs(self) -> tuple[Prepared, Post | None]:
        prepared = self._assignment.prepare()
        return prepared, self._meet(prepared) if prepared.nodes > 1 else None

    def _warn_of_full_disk(self) -> None:
        """Tell the run's readers that it waits for room, until they could be told."""
        if self._has_told:
            return
        message = f"the run waits on its worker: {no_room(self._services.settings.work_dir)}"
        with suppress(*DATABASE_AWAY):
            with unit_of_work(self._services.engine) as session:
                self._has_told = feed.warn(session, self._mark.run, self._mark.fence, "disk_full", message)
            self._services.bus.publish(run_topic(self._mark.run))

    def _meet(self, prepared: Prepared) -> Post:
        """Say to the other hosts where their processes find those of this one, and what all continue from."""
        endpoint = free_endpoint(own_address(self._services.settings))
        with unit_of_work(self._services.engine) as session:
            shares.publish(session, self._mark.run, self._mark.fence, Meeting(endpoint, prepared.resume_digest))
        return Post(0, prepared.nodes, endpoint, f"{self._mark.run}-{self._mark.fence}")

    def _work(self, prepared: Prepared, post: Post | None) -> int | None:
        """Run the job to its end and leave no process of it; its exit code, None when the kernel could not end it."""
        is_launcher = prepared.processes * prepared.nodes > 1

        def supervise(job: "subprocess.Popen[bytes]") -> None:
            self._feed.start()
            self._orders.listen(Silence(self._folder / EVENTS_FILE).seconds)
            self._supervise(job, launcher=is_launcher)

        return self._assignment.work(prepared, post, supervise)

    def _supervise(self, job: "subprocess.Popen[bytes]", *, launcher: bool) -> None:
        while _is_running(job):
            deadline = self._orders.deadline()
            if self._feed.fault is not None or (deadline is not None and time.monotonic() >= deadline):
                end(job)
                return
            if deadline is None:
                continue
            # Asked before it can listen, it would die of SIGTERM with nothing saved.
            can_listen = self._sink.last_seq > 0 or not self._orders.only_save
            if not self._asked and can_listen:
                ask_to_leave(job, launcher=launcher)
                self._asked = True

    def _take_the_rest(self) -> bool:
        """Wait until everything the job said and named is in tables and store; False when there is no time for it."""
        self._feed.finish()
        while not self._feed.taken.wait(TICK):
            if self._lease.is_stale or not self._feed.is_alive() or self._is_out_of_time():
                return self._feed.taken.is_set()
        return True

    def _is_out_of_time(self) -> bool:
        patience = self._orders.patience()
        return patience is not None and time.monotonic() > patience + _CLOSING_SECONDS

    def _close(self, outcome: Outcome) -> int:
        outcome = replace(outcome, cpu_seconds=cpu_seconds_of_children())
        while not (self._lease.is_stale or self._sink.is_stale):
            try:
                with unit_of_work(self._services.engine) as session:
                    closed = hold_of(self._mark).close(session, outcome)
            except DATABASE_AWAY as error:
                _log.warning("%s waits to be closed as %s: %s", self._mark.run, outcome.kind, error)
                if self._is_out_of_time():
                    return EXIT_OPEN
                time.sleep(RETRY_SECONDS)
                continue
            self._lease.leave()
            if closed:
                _log.info("%s %s: %s %s", self._mark.run, self._mark.name, outcome.kind, outcome.message or "")
                self._services.bus.publish(run_topic(self._mark.run))
                self._leave_folder()
                tell_of(self._services.engine, self._mark)
                return EXIT_CLOSED
            break
        _log.warning("%s %s is not ours any more: nothing was written", self._mark.run, self._mark.name)
        return EXIT_CLOSED

    def _leave_folder(self) -> None:
        if self._feed.ident is None or self._feed.taken.is_set():
            discard(self._folder)
        else:  # the upkeep takes what is left of the log
            trim(self._folder)


def main(arguments: list[str], command: Command = job_command) -> int:
    """Run the attempt, or one host's share of it, that `arguments` name: run, fence, node, the leash's descriptor."""
    mark, leash = Mark(arguments[0], int(arguments[1]), int(arguments[2])), int(arguments[3])
    settings = load_settings()
    configure(settings.log_level)
    become_subreaper()
    folder = open_folder(settings.work_dir, mark)
    assignment = Assignment(open_services(settings), mark, folder, leash, command)
    runner = (Follower if mark.node else Runner)(assignment)
    signal.signal(signal.SIGTERM, lambda *_: assignment.orders.dismiss())
    try:
        return runner.run()
    finally:
        clean_up(mark.run)


def _is_running(job: "subprocess.Popen[bytes]") -> bool:
    try:
        job.wait(TICK)
    except subprocess.TimeoutExpired:
        return True
    return False


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
