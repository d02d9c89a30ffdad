"""A runner sees one attempt through, whatever the job or a person does, and leaves no process behind."""

import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta

import psutil
import pytest
from sqlalchemy import update

from control.db.models import Attempt as Attempts
from control.db.models import DatasetVersion
from control.db.session import database_time, unit_of_work
from control.records.journal import history
from control.records.life import leases
from control.records.life.leases import Outcome
from control.records.runs.actions import request_action
from control.records.runs.kinds import Queue
from control.records.runs.runs import get_run
from control.records.scheduling import preemption, workers
from control.records.scheduling.workers import NewSlot
from control.states import Action
from detco_core.contract.config import override
from detco_core.contract.presets import smoke
from detco_core.contract.reader import plain
from tests.collector import Collector
from tests.full_disk import small_disk
from tests.processes import words_of
from tests.unit.worker.house import CHILDREN, House, weights_after
from worker.attempts.assignment import EXIT_CLOSED
from worker.attempts.folder import is_occupied, occupy, open_folder
from worker.launch import package_environment
from worker.processes import Leash, Mark, marked, start, sweep


class Attempt:
    """A claimed run and its runner, as a pool process would start it."""

    def __init__(self, house: House, *, queue: Queue = "gpu", **environment: str) -> None:
        self.house = house
        self.claim = house.claim(queue)
        self.mark = Mark(self.claim.run_id, self.claim.fence)
        self.folder = open_folder(house.settings.work_dir, self.mark)
        self.leash = Leash()
        settings = {
            "DETCO_DATA_DIR": str(house.settings.data_dir),
            "DETCO_CONTROL_POLL_SECONDS": "0.05",
            "DETCO_HEARTBEAT_SECONDS": "0.5",
            "DETCO_GRACE_SECONDS": "20",
            "DETCO_SHUTDOWN_SECONDS": "10",
            "DETCO_LOG_LEVEL": "DEBUG",
            **environment,
        }
        command = [sys.executable, str(CHILDREN), "runner", *map(str, self.mark), str(self.leash.fd)]
        told = package_environment() | self.mark.environment() | settings
        lock = occupy(self.folder)
        self.runner = start(command, folder=self.folder, environment=told, leash=self.leash, keep=[lock])
        os.close(lock)

    @property
    def run_id(self) -> str:
        return self.claim.run_id

    def wait(self) -> int:
        """Wait for the runner's end; what is left of it is the fault of the test."""
        code = self.runner.wait(240)
        self.leash.let_go()
        assert marked(self.mark) == []
        return code

    def wait_until(self, happened: Callable[[], object]) -> None:
        deadline = time.monotonic() + 240
        while not happened():
            assert self.runner.poll() is None, "the runner has ended"
            assert time.monotonic() < deadline, "it did not happen"
            time.sleep(0.02)

    def wait_for_step(self, step: int) -> None:
        self.wait_until(lambda: (self.house.run(self.run_id).progress or {}).get("step", 0) >= step)

    def ask(self, action: Action) -> None:
        with unit_of_work(self.house.engine) as session:
            request_action(session, get_run(session, self.run_id), action, "test")

    def named(self, verb: str) -> list[psutil.Process]:
        """Its processes whose command line ends with the verb."""
        return [process for process in marked(self.mark) if words_of(process)[-1:] == [verb]]

    def job(self) -> psutil.Process:
        """The stand-in job's process."""
        return next(process for process in self.named("pretrain") if process.ppid() == self.runner.pid)


def steps_of_checkpoints(house: House, run_id: str) -> list[int]:
    return sorted(c.step for c in house.ask(lambda s: history.list_checkpoints(s, run_id)).items)


@pytest.mark.slow
class TestTheJobsOwnEnd:
    def test_finished_completes_the_run_with_all_it_said(self, house: House, collector: Collector) -> None:
        run_id = house.pretraining(steps=5, every=2)
        attempt = Attempt(house, queue="gpu", **collector.environment)
        assert attempt.wait() == EXIT_CLOSED
        assert {span.name for span in collector.spans} == {"attempt pretrain", "queue", "prepare", "work"}
        run = house.run(run_id)
        assert (run.state, run.progress["step"] if run.progress else None) == ("completed", 5)
        assert house.states(run_id) == ["queued", "starting", "running", "completed"]
        assert run.environment == {"version": "fake"}
        assert steps_of_checkpoints(house, run_id) == [2, 4, 5]
        assert len(house.events(run_id, "progress")) == 5
        assert house.artifact(run_id, "weights") == weights_after(5)
        assert house.log(run_id, 1) == b"the fake job begins\n"
        (row,) = house.attempts(run_id)
        assert (row.state, row.exit_code, row.log_tail) == ("completed", 0, "the fake job begins")
        assert row.cpu_seconds is not None
        assert row.cpu_seconds > 0.01
        assert run.cpu_seconds == row.cpu_seconds
        assert not attempt.folder.exists()

    def test_a_scan_makes_its_version_ready(self, house: House) -> None:
        with unit_of_work(house.engine) as session:
            version = session.get_one(DatasetVersion, house.photos.id)
            version.state = "scanning"
        run_id = house.submit("check", {"dataset_version_id": house.photos.id}, dataset_version_id=house.photos.id)
        assert Attempt(house, queue="cpu").wait() == EXIT_CLOSED
        assert house.run(run_id).state == "completed"
        assert house.ask(lambda s: s.get_one(DatasetVersion, house.photos.id)).state == "ready"

    @pytest.mark.parametrize(("behaviour", "message"), [("user", "a fake error of kind user"), ("nan", "kind nan")])
    def test_its_own_fault_is_told_and_counted(self, house: House, behaviour: str, message: str) -> None:
        run_id = house.pretraining(behaviour)
        assert Attempt(house).wait() == EXIT_CLOSED
        run = house.run(run_id)
        assert (run.state, run.failures, run.losses) == ("queued", 1, 0)
        assert message in (run.reason or "")

    @pytest.mark.parametrize(
        ("behaviour", "why"),
        [
            ("dies", "by SIGKILL without a last event"),
            ("dies_in_a_line", "by SIGKILL without a last event"),
            ("exits", "with exit code 3 without a last event"),
            ("internal", "a fake error of kind internal"),
        ],
    )
    def test_any_other_end_is_a_loss(self, house: House, behaviour: str, why: str) -> None:
        run_id = house.pretraining(behaviour)
        assert Attempt(house).wait() == EXIT_CLOSED
        run = house.run(run_id)
        assert (run.state, run.failures, run.losses) == ("queued", 0, 1)
        assert why in (run.reason or "")
        assert steps_of_checkpoints(house, run_id) == [2]

    def test_the_next_attempt_continues_from_the_last_checkpoint(self, house: House) -> None:
        run_id = house.pretraining("dies", steps=6, every=2)
        Attempt(house).wait()
        time.sleep(1.1)  # the back-off after a first loss
        Attempt(house).wait()
        assert house.run(run_id).state == "completed"
        assert [event.payload["resumed_from"] for event in house.events(run_id, "started")] == [None, 2]
        assert house.artifact(run_id, "weights") == weights_after(6)

    def test_its_grandchildren_end_with_it(self, house: House) -> None:
        run_id = house.pretraining("leaves_grandchildren", steps=3, held=True)
        attempt = Attempt(house)
        attempt.wait_for_step(1)
        grandchildren = [p for p in marked(attempt.mark) if "SIG_IGN" in str(words_of(p))]
        assert len(grandchildren) == 3
        house.release(run_id)
        assert attempt.wait() == EXIT_CLOSED
        assert not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in grandchildren)

    def test_a_spec_that_cannot_be_read_is_the_users_fault(self, house: House) -> None:
        config = plain(override(smoke(), {})) | {"unknown": 1}
        spec = {"config": config, "dataset_version_id": house.photos.id, "gpus": 1}
        run_id = house.submit("pretrain", spec, dataset_version_id=house.photos.id, max_attempts=1)
        assert Attempt(house).wait() == EXIT_CLOSED
        run = house.run(run_id)
        assert run.state == "failed"
        assert "unknown" in (run.reason or "")


@pytest.mark.slow
class TestWhatAPersonWants:
    @pytest.mark.parametrize(
        ("action", "state"), [("cancel", "cancelled"), ("pause", "paused"), ("finish", "completed")]
    )
    def test_a_job_that_is_stopped_saves_first(self, house: House, action: Action, state: str) -> None:
        run_id = house.pretraining(steps=2000, every=500)
        attempt = Attempt(house)
        attempt.wait_for_step(2)
        attempt.ask(action)
        assert attempt.wait() == EXIT_CLOSED
        assert house.run(run_id).state == state
        (stopped,) = house.events(run_id, "stopped")
        assert steps_of_checkpoints(house, run_id) == [stopped.payload["step"]]
        assert not attempt.folder.exists()

    def test_finish_before_the_job_can_listen_waits_until_it_can(self, house: House) -> None:
        run_id = house.pretraining(steps=2000, every=500)
        attempt = Attempt(house)
        attempt.ask("finish")
        assert attempt.wait() == EXIT_CLOSED
        assert house.run(run_id).state == "completed"
        assert len(steps_of_checkpoints(house, run_id)) == 1

    def test_kill_waits_for_nobody(self, house: House) -> None:
        run_id = house.pretraining("ignores_term", steps=2000)
        attempt = Attempt(house)
        attempt.wait_for_step(2)
        attempt.ask("kill")
        assert attempt.wait() == EXIT_CLOSED
        assert house.run(run_id).state == "cancelled"
        assert house.events(run_id, "stopped") == []

    def test_kill_shortens_the_grace_of_a_cancel(self, house: House) -> None:
        run_id = house.pretraining("ignores_term", steps=2000)
        attempt = Attempt(house)
        attempt.wait_for_step(2)
        attempt.ask("cancel")
        attempt.wait_until(lambda: house.run(run_id).state == "cancelling")
        attempt.ask("kill")
        assert attempt.wait() == EXIT_CLOSED
        assert house.run(run_id).state == "cancelled"

    def test_a_run_resumed_after_a_pause_ends_as_an_undisturbed_one(self, house: House) -> None:
        run_id = house.pretraining(steps=60, every=500, held=True)
        attempt = Attempt(house)
        attempt.wait_for_step(3)
        attempt.ask("pause")
        attempt.wait()
        house.release(run_id)
        attempt.ask("resume")
        assert Attempt(house).wait() == EXIT_CLOSED
        assert house.run(run_id).state == "completed"
        assert house.artifact(run_id, "weights") == weights_after(60)


@pytest.mark.slow
class TestLimitsAndPreemption:
    def test_a_job_that_hangs_and_ignores_sigterm_is_ended_after_the_grace_and_tried_again(self, house: House) -> None:
        run_id = house.pretraining("hangs", steps=6, every=2)
        attempt = Attempt(house, DETCO_GRACE_SECONDS="0.3")
        attempt.wait_for_step(3)  # it hangs from now on
        attempt.wait_until(lambda: steps_of_checkpoints(house, run_id))
        with unit_of_work(house.engine) as session:
            get_run(session, run_id).idle_seconds = 0.5
        assert attempt.wait() == EXIT_CLOSED
        run, (row,) = house.run(run_id), house.attempts(run_id)
        assert (run.state, run.failures, run.losses) == ("queued", 0, 1)
        assert (row.state, row.cause, row.exit_code, row.signal) == ("lost", "idle", None, "SIGKILL")
        assert steps_of_checkpoints(house, run_id) == [2]

    def test_a_run_whose_time_is_used_up_saves_and_fails(self, house: House) -> None:
        run_id = house.pretraining(steps=5000, every=5000, max_seconds=100_000.0)
        attempt = Attempt(house)
        attempt.wait_for_step(1)
        with unit_of_work(house.engine) as session:
            get_run(session, run_id).worked_seconds = 99_999.9
        assert attempt.wait() == EXIT_CLOSED
        run, (row,) = house.run(run_id), house.attempts(run_id)
        (step,) = steps_of_checkpoints(house, run_id)
        assert (run.state, run.reason) == ("failed", f"its max_seconds are used up; it saved at step {step}")
        assert (row.state, row.cause, run.worked_seconds > 99_999.9) == ("stopped", "time_limit", True)

    def test_a_run_that_makes_room_saves_first(self, house: House) -> None:
        run_id = house.pretraining(steps=5000, every=5000)
        attempt = Attempt(house)
        attempt.wait_for_step(2)
        urgent = house.pretraining(priority=5, preempt=True)
        with unit_of_work(house.engine) as session:
            session.execute(update(Attempts).values(started_at=database_time(session) - timedelta(hours=1)))
            assert preemption.arrange(session, 100.0) == [run_id]
        assert attempt.wait() == EXIT_CLOSED
        run, (row,) = house.run(run_id), house.attempts(run_id)
        assert (run.state, run.desired_state, f"room for {urgent}" in (run.reason or "")) == ("queued", "run", True)
        assert (row.state, row.cause) == ("preempted", "preempted")
        assert len(steps_of_checkpoints(house, run_id)) == 1
        assert house.claim().run_id == urgent


@pytest.mark.slow
class TestTheRunnersOwnEnd:
    def test_let_go_it_saves_and_gives_the_run_back(self, house: House) -> None:
        run_id = house.pretraining(steps=2000, every=500)
        attempt = Attempt(house)
        attempt.wait_for_step(2)
        attempt.leash.let_go()
        assert attempt.wait() == EXIT_CLOSED
        run = house.run(run_id)
        assert (run.state, run.failures) == ("queued", 0)
        assert len(steps_of_checkpoints(house, run_id)) == 1
        (row,) = house.attempts(run_id)
        assert row.state == "preempted"

    def test_sigterm_is_the_same(self, house: House) -> None:
        run_id = house.pretraining(steps=2000, every=500)
        attempt = Attempt(house)
        attempt.wait_for_step(2)
        attempt.runner.terminate()
        assert attempt.wait() == EXIT_CLOSED
        assert (house.run(run_id).state, len(steps_of_checkpoints(house, run_id))) == ("queued", 1)

    def test_let_go_with_a_deaf_job_it_still_leaves_in_time(self, house: House) -> None:
        run_id = house.pretraining("ignores_term", steps=2000)
        attempt = Attempt(house, DETCO_SHUTDOWN_SECONDS="2")
        attempt.wait_for_step(2)
        attempt.leash.let_go()
        assert attempt.wait() == EXIT_CLOSED
        assert house.run(run_id).state == "queued"

    def test_killed_it_takes_its_job_along(self, house: House) -> None:
        run_id = house.pretraining(steps=2000)
        attempt = Attempt(house)
        attempt.wait_for_step(2)
        job = attempt.job()
        attempt.runner.send_signal(signal.SIGKILL)
        attempt.runner.wait()
        deadline = time.monotonic() + 20
        while marked(attempt.mark) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not job.is_running() or job.status() == psutil.STATUS_ZOMBIE
        assert attempt.wait() == -signal.SIGKILL
        assert house.run(run_id).state == "running"
        assert not is_occupied(attempt.folder)


@pytest.mark.slow
class TestSeveralProcesses:
    """Under torchrun, whose ranks are in sessions of their own."""

    @pytest.fixture
    def attempt(self, house: House) -> Attempt:
        with unit_of_work(house.engine) as session:
            workers.offer_slots(session, "host", [NewSlot(uuid=f"cpu:{n}", purpose="train") for n in range(2)])
        house.pretraining("leaves_grandchildren", steps=5000, every=5000, processes=2)
        attempt = Attempt(house)
        attempt.wait_for_step(2)
        return attempt

    def test_every_rank_is_asked_to_save_and_leave(self, house: House, attempt: Attempt) -> None:
        attempt.wait_until(lambda: len(attempt.named("pretrain")) == 3)  # torchrun and two ranks
        attempt.ask("pause")
        assert attempt.wait() == EXIT_CLOSED
        assert house.run(attempt.run_id).state == "paused"
        assert len(steps_of_checkpoints(house, attempt.run_id)) == 1

    def test_they_end_with_a_killed_runner(self, house: House, attempt: Attempt) -> None:
        attempt.runner.send_signal(signal.SIGKILL)
        attempt.runner.wait()
        deadline = time.monotonic() + 20
        while attempt.named("pretrain"):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        sweep(lambda: marked(attempt.mark))


@pytest.mark.slow
class TestAStaleRunner:
    def test_it_stops_and_writes_nothing(self, house: House) -> None:
        run_id = house.pretraining(steps=2000)
        attempt = Attempt(house)
        attempt.wait_for_step(2)
        with unit_of_work(house.engine) as session:
            assert leases.close(
                session, attempt.mark.run, attempt.mark.fence, Outcome(kind="lost", message="taken away")
            )
        before = house.run(run_id)
        events = len(house.events(run_id, "progress"))
        assert attempt.wait() == EXIT_CLOSED
        after = house.run(run_id)
        assert (after.state, after.reason, after.version) == ("queued", "taken away", before.version)
        assert len(house.events(run_id, "progress")) == events
        assert house.events(run_id, "stopped") == []


@pytest.mark.slow
class TestWhileTheDatabaseIsAway:
    def test_the_job_goes_on_and_everything_is_told_later(self, house: House) -> None:
        run_id = house.pretraining(steps=40, every=10, seconds=0.05, held=True)
        attempt = Attempt(house)
        attempt.wait_for_step(2)
        with closing(house.writer()) as writer:
            writer.execute("BEGIN IMMEDIATE")
            house.release(run_id)
            finished = attempt.folder / "events.jsonl"
            attempt.wait_until(lambda: b'"type":"finished"' in finished.read_bytes())
            writer.execute("ROLLBACK")
        assert attempt.wait() == EXIT_CLOSED
        assert house.run(run_id).state == "completed"
        assert len(house.events(run_id, "progress")) == 40
        assert steps_of_checkpoints(house, run_id) == [10, 20, 30, 40]
        assert len(house.events(run_id, "started")) == 1

    def test_it_stops_when_the_lease_may_have_ended_and_reports_afterwards(self, house: House) -> None:
        run_id = house.pretraining(steps=5000, every=5000, seconds=0.01)
        attempt = Attempt(house, DETCO_LEASE_SECONDS="8")
        attempt.wait_for_step(2)
        with closing(house.writer()) as writer:
            writer.execute("BEGIN IMMEDIATE")
            said = attempt.folder / "events.jsonl"
            attempt.wait_until(lambda: b'"type":"stopped"' in said.read_bytes())
            writer.execute("ROLLBACK")
        assert attempt.wait() == EXIT_CLOSED
        assert house.run(run_id).state == "queued"
        assert len(steps_of_checkpoints(house, run_id)) == 1


@pytest.mark.slow
class TestWhileTheStoreIsAway:
    def test_the_run_waits_for_its_files_and_progress_does_not(self, house: House) -> None:
        artifacts = house.settings.data_dir / "artifacts" / "sha256"
        run_id = house.pretraining(steps=6, every=2, held=True)
        aside = artifacts.with_name("aside")
        attempt = Attempt(house)
        attempt.wait_until(lambda: (attempt.folder / "events.jsonl").exists())
        artifacts.rename(aside)
        artifacts.touch()
        house.release(run_id)
        attempt.wait_for_step(6)
        assert house.run(run_id).state == "running"
        artifacts.unlink()
        aside.rename(artifacts)
        assert attempt.wait() == EXIT_CLOSED
        assert house.run(run_id).state == "completed"
        assert steps_of_checkpoints(house, run_id) == [2, 4, 6]


@pytest.mark.slow
@pytest.mark.mounts
def test_a_full_disk_costs_the_steps_since_the_last_checkpoint_and_says_so(house: House) -> None:
    """The job cannot write why it ended, nor the next attempt its job: it waits for room, and goes on to the end."""
    with small_disk(house.settings.work_dir, 256) as disk:
        run_id = house.pretraining(steps=60, every=4, seconds=0.05, held=True)
        attempt = Attempt(house)
        attempt.wait_until(lambda: steps_of_checkpoints(house, run_id))
        disk.fill()
        house.release(run_id)
        while attempt.runner.poll() is None:  # a checkpoint that leaves for the store makes room for the next one
            disk.fill()
            time.sleep(0.01)
        assert attempt.wait() == EXIT_CLOSED
        (first,), run = house.attempts(run_id), house.run(run_id)
        assert (run.state, run.failures, first.state, first.cause) == ("queued", 0, "lost", "crashed")
        assert run.reason is not None
        assert "without a last event; the disk of" in run.reason
        assert "is full: free space there" in run.reason
        saved = steps_of_checkpoints(house, run_id)
        assert saved == list(range(4, 4 * len(saved) + 1, 4))
        house.ask(lambda s: [house.store.size(c.key) for c in history.list_checkpoints(s, run_id).items])
        time.sleep(1.1)  # the back-off after a first loss
        disk.fill()  # also what the first attempt's folder took
        attempt = Attempt(house)
        attempt.wait_until(lambda: house.events(run_id, "warning"))
        (warning,) = house.events(run_id, "warning")
        assert (warning.payload["code"], house.run(run_id).state) == ("disk_full", "starting")
        disk.make_room()
        assert attempt.wait() == EXIT_CLOSED
    assert house.run(run_id).state == "completed"
    assert [event.payload["resumed_from"] for event in house.events(run_id, "started")] == [None, saved[-1]]
    assert house.artifact(run_id, "weights") == weights_after(60)
