"""The upkeep registers, beats, leads, looks for work, and buries what nobody else can."""

import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import delete, event, select, update
from sqlalchemy.exc import OperationalError

from control.db.models import Attempt, Checkpoint, DatasetVersion, Delivery, OutboxEntry, Run, Slot, Worker
from control.db.session import database_time, open_engine, unit_of_work
from control.jobs import make_celery
from control.records import leaders
from control.records.journal import logs
from control.records.life import leases, shares
from control.records.runs.runs import Queue
from control.records.scheduling import claims
from control.records.scheduling import workers as worker_rows
from control.records.scheduling.gangs import nodes_of
from control.records.scheduling.workers import WorkerIdentity
from control.records.sweeps.sweep_plans import NewSweep, SweepEvaluation, plan_sweep
from control.records.sweeps.sweeps import create_sweep
from control.records.webhooks import notices, webhooks
from control.settings import Settings
from control.signing import signing_key
from tests.unit.worker.house import House
from worker import reaper
from worker.attempts import KEEP_SECONDS, attempt_folder, occupy, open_folder
from worker.logs import ship_rest
from worker.processes import Mark, marked
from worker.reaper import DUTY, Upkeep
from worker.shared import Shared
from worker.standins import StandIns


class Noted(StandIns):
    """Remembers what it was asked to start."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.started: list[Queue] = []

    def start(self, queue: Queue, identity: WorkerIdentity) -> None:
        self.started.append(queue)


class Scene:
    def __init__(self, house: House, settings: Settings) -> None:
        self.house = house
        self.shared = Shared("host")
        self.stand_ins = Noted(settings.data_dir)
        self.upkeep = Upkeep(settings, house.engine, make_celery(settings), self.shared, self.stand_ins)
        self.upkeep.register()

    def messages(self) -> list[str]:
        """Queues of the wake-ups that lie with the broker."""
        folder = self.house.settings.data_dir / "broker" / "messages"
        return sorted(path.name.split(".")[1] for path in folder.glob("*.msg"))

    def slots(self) -> list[str]:
        return [slot.uuid for slot in self.house.ask(lambda s: worker_rows.list_slots(s, "host"))]

    def desert(self) -> Mark:
        """An attempt whose runner is dead."""
        claim = self.house.claim()
        mark = Mark(claim.run_id, claim.fence)
        folder = open_folder(self.house.settings.work_dir, mark)
        (folder / "resume.pt").touch()
        (folder / "log.txt").write_text("last words")
        return mark


def expired(scene: Scene) -> str:
    """A run whose lease has ended."""
    run_id = scene.house.pretraining()
    brief = scene.house.settings.model_copy(update={"lease_seconds": 0.01})
    services = scene.house.services._replace(settings=brief)
    House(services, scene.house.worker, scene.house.photos).claim()
    time.sleep(0.05)
    return run_id


class TestSweeps:
    @pytest.fixture
    def completed(self, scene: Scene) -> str:
        """A run of a sweep that asks for evaluations, completed with a checkpoint."""
        evaluate = SweepEvaluation(task="knn", dataset=scene.house.photos.ref)
        with unit_of_work(scene.house.engine) as session:
            session.get_one(DatasetVersion, scene.house.photos.id).kind = "labelled"
            asked = NewSweep(
                dataset=scene.house.photos.ref,
                preset="smoke",
                grid={"seed": [1]},
                evaluate=evaluate,
                terms={"actor": "ada"},
            )
            create_sweep(session, plan_sweep(session, asked))
            run = session.scalars(select(Run)).one()
            run.state = "completed"
            kept = {"bytes": 1, "digest": "sha256:" + "a" * 64, "key": "k", "created_by": "ada"}
            session.add(Checkpoint(run_id=run.id, fence=1, step=1, epoch=1.0, **kept))
            return run.id

    def evaluations(self, scene: Scene) -> int:
        return len(scene.house.ask(lambda s: s.scalars(select(Run).where(Run.kind == "evaluate")).all()))

    def test_the_leader_evaluates_what_is_completed_once(self, scene: Scene, completed: str) -> None:
        scene.upkeep.follow_sweeps()
        assert self.evaluations(scene) == 0  # it does not lead yet
        scene.upkeep.lead()
        for _ in range(2):
            scene.upkeep.follow_sweeps()
        assert self.evaluations(scene) == 1


@pytest.fixture
def scene(house: House, settings: Settings) -> Scene:
    return Scene(house, settings)


def test_registering_announces_worker_and_slots(scene: Scene) -> None:
    row = scene.house.ask(lambda s: s.get_one(Worker, scene.shared.identity().id))
    assert (row.host, row.pid, row.state) == ("host", os.getpid(), "active")
    assert row.roots == list(scene.house.settings.resolved_dataset_roots)
    assert scene.slots() == ["cpu:0", "light:0", "light:1"]


def test_a_worker_that_was_forgotten_registers_again(scene: Scene) -> None:
    first = scene.shared.identity()
    scene.upkeep.beat()
    assert scene.shared.identity() == first
    with unit_of_work(scene.house.engine) as session:
        session.execute(delete(Worker).where(Worker.id == first.id))
    scene.upkeep.beat()
    assert scene.shared.identity() != first


def test_a_beat_never_locks_worker_and_slots_together(scene: Scene) -> None:
    """A claim locks them in the other order: on PostgreSQL the two were found in a deadlock."""
    touched: list[str] = []

    @event.listens_for(scene.house.engine, "before_cursor_execute")
    def note(_: object, __: object, statement: str, *___: object) -> None:
        touched.extend(word for word in ("UPDATE workers", "FROM slots") if word in statement)

    event.listen(scene.house.engine, "commit", lambda _: touched.append("commit"))
    scene.upkeep.beat()
    assert touched[:3] == ["UPDATE workers", "commit", "FROM slots"]


def test_a_beat_brings_slots_back(scene: Scene) -> None:
    with unit_of_work(scene.house.engine) as session:
        session.execute(delete(Slot))
    scene.upkeep.beat()
    assert scene.slots() == ["cpu:0", "light:0", "light:1"]


def test_a_beat_repeats_the_wish_of_a_drain(scene: Scene) -> None:
    scene.house.pretraining()
    with unit_of_work(scene.house.engine) as session:
        claim = claims.claim(session, scene.shared.identity(), "gpu")
    assert claim is not None
    with unit_of_work(scene.house.engine) as session:  # as if the claim had been committed a moment later
        session.execute(update(Worker).values(state="draining", preempting=True))
    scene.upkeep.beat()
    assert scene.house.run(claim.run_id).desired_state == "preempt"


class TestLook:
    def test_it_is_noted(self, scene: Scene) -> None:
        scene.upkeep.look()
        (row,) = [w for w in scene.house.ask(worker_rows.list_workers) if w.id == scene.shared.identity().id]
        assert row.looked_at is not None

    def test_work_that_nobody_takes_for_too_long_ends_the_worker(self, house: House, settings: Settings) -> None:
        scene = Scene(house, settings.model_copy(update={"stall_seconds": 0.001}))
        house.pretraining()
        scene.upkeep.look()
        assert not scene.upkeep.has_stalled
        time.sleep(0.01)
        scene.upkeep.look()
        assert scene.upkeep.has_stalled

    def test_idle_it_sends_nothing(self, scene: Scene) -> None:
        scene.upkeep.look()
        assert scene.messages() == []

    def test_work_that_waits_is_woken_then_taken_by_a_stand_in(self, scene: Scene) -> None:
        scene.house.pretraining()
        scene.upkeep.look()
        assert (scene.messages(), scene.stand_ins.started) == (["gpu"], [])
        scene.upkeep.look()
        assert scene.stand_ins.started == ["gpu"]

    def test_work_that_was_taken_is_forgotten(self, scene: Scene) -> None:
        scene.house.pretraining()
        scene.upkeep.look()
        claim = scene.house.claim()
        scene.upkeep.look()
        scene.house.close(claim, "preempted")
        scene.upkeep.look()
        assert scene.stand_ins.started == []

    def test_a_broker_that_takes_nothing_is_not_waited_for(self, house: House, settings: Settings) -> None:
        roots = settings.dataset_roots
        away = Settings(
            data_dir=settings.data_dir, host_name="host", broker_url="redis://127.0.0.1:9/0", dataset_roots=roots
        )
        scene = Scene(house, away)
        house.pretraining()
        scene.upkeep.look()
        assert scene.stand_ins.started == ["gpu"]

    def test_a_leaving_worker_looks_no_more(self, scene: Scene) -> None:
        scene.house.pretraining()
        scene.shared.stop()
        scene.upkeep.look()
        scene.upkeep.look()
        assert (scene.messages(), scene.stand_ins.started) == ([], [])


def test_the_leader_has_others_make_room(scene: Scene) -> None:
    guest = scene.house.pretraining()
    taken = scene.house.claim()
    with unit_of_work(scene.house.engine) as session:
        leases.start(session, guest, taken.fence, 1)
        long_ago = database_time(session) - timedelta(hours=1)
        session.execute(update(Attempt).values(started_at=long_ago))
    urgent = scene.house.pretraining(priority=1, preempt=True)
    scene.upkeep.lead()
    assert scene.house.run(guest).desired_state == "preempt"
    kept = scene.house.run(urgent)
    assert kept.reserved_host == "host"


class TestSharesOfOtherHosts:
    @pytest.fixture
    def share(self, scene: Scene) -> Mark:
        """Of this host, in a run that another host has claimed."""
        other = scene.house.join("other", "cpu:9")
        scene.house.pretraining(nodes=2)
        claim = scene.house.claim(worker=other)
        return Mark(claim.run_id, claim.fence, 1)

    def test_one_is_taken_up_by_a_stand_in(self, scene: Scene, share: Mark) -> None:
        scene.upkeep.join_others()
        scene.upkeep.join_others()
        assert scene.stand_ins.started == ["gpu"], "called once"
        with unit_of_work(scene.house.engine) as session:
            assert shares.take_share(session, scene.shared.identity()) is not None
        scene.stand_ins.started.clear()
        scene.upkeep.join_others()
        assert scene.stand_ins.started == []

    def test_one_whose_runner_is_dead_is_closed_as_lost(self, scene: Scene, share: Mark) -> None:
        with unit_of_work(scene.house.engine) as session:
            assert shares.take_share(session, scene.shared.identity()) is not None
        folder = open_folder(scene.house.settings.work_dir, share)
        os.close(occupy(folder))
        scene.upkeep.close_the_dead()
        scene.upkeep.close_the_dead()
        (_, row) = scene.house.ask(lambda s: nodes_of(s, share.run, [share.fence])[share.fence])
        assert (row.state, row.reason) == ("lost", "its runner and worker were killed")
        assert scene.house.run(share.run).state == "starting", "what becomes of the run is for its leader to say"


class TestLead:
    def test_a_leader_sends_what_is_owed(self, scene: Scene) -> None:
        scene.house.pretraining()
        scene.upkeep.lead()
        assert scene.messages() == ["gpu"]

    def test_another_does_not(self, scene: Scene) -> None:
        with unit_of_work(scene.house.engine) as session:
            assert leaders.lead(session, DUTY, "another")
        scene.house.pretraining()
        scene.upkeep.lead()
        scene.upkeep.sweep_outbox()
        assert scene.messages() == []

    def test_the_leader_alone_tries_what_webhooks_are_owed(self, scene: Scene) -> None:
        with unit_of_work(scene.house.engine) as session:
            key = signing_key(scene.house.settings)
            made = webhooks.create_webhook(session, key, "http://127.0.0.1:9/", ["*"], "anna")
            notices.owe_test(session, made.webhook, "anna")
        scene.upkeep.deliver()
        assert not scene.upkeep._courier._under_way
        scene.upkeep.lead()
        scene.upkeep.deliver()
        for future in scene.upkeep._courier._under_way.values():
            future.result(30)
        (delivery,) = scene.house.ask(lambda s: list(s.scalars(select(Delivery))))
        assert (delivery.state, delivery.tries) == ("pending", 1)
        assert "not a public address" in delivery.attempts[0]["error"]

    def test_a_lease_that_ended_is_taken_back(self, scene: Scene) -> None:
        run_id = expired(scene)
        scene.upkeep._in_touch_since = time.monotonic() - 60
        scene.upkeep.lead()
        assert scene.house.run(run_id).state == "queued"

    def test_after_an_outage_runners_have_the_first_word(self, scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
        """Their leases ended while the database was away; they renew as soon as it answers."""
        monkeypatch.setattr(reaper, "_IN_TOUCH_SECONDS", 0.2)
        scene.upkeep._in_touch_since = time.monotonic() - 60
        run_id = expired(scene)
        with monkeypatch.context() as away:
            away.setattr(scene.upkeep, "_engine", open_engine("postgresql+psycopg://nobody@127.0.0.1:9/none"))
            with pytest.raises(OperationalError):
                scene.upkeep.lead()
        scene.upkeep.lead()
        assert scene.house.run(run_id).state == "starting"
        time.sleep(0.25)
        scene.upkeep.lead()
        assert scene.house.run(run_id).state == "queued"

    def test_wake_ups_nobody_followed_are_repeated(self, scene: Scene) -> None:
        scene.upkeep.lead()
        run_id = scene.house.pretraining()
        with unit_of_work(scene.house.engine) as session:
            session.execute(delete(OutboxEntry))
            session.get_one(Run, run_id).kicked_at = datetime(2020, 1, 1, tzinfo=UTC)
        scene.upkeep.sweep_outbox()
        scene.upkeep.lead()
        assert scene.messages() == ["gpu"]


class TestTheDead:
    def test_an_attempt_without_a_runner_is_closed_when_seen_twice(self, scene: Scene) -> None:
        run_id = scene.house.pretraining()
        mark = scene.desert()
        left = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], env=mark.environment())
        scene.upkeep.close_the_dead()
        assert scene.house.run(run_id).state == "starting"
        scene.upkeep.close_the_dead()
        left.wait(20)
        assert scene.house.run(run_id).state == "queued"
        (attempt,) = scene.house.attempts(run_id)
        assert (attempt.state, attempt.log_tail) == ("lost", "last words")
        assert scene.house.log(*mark) == b"last words"
        assert marked(mark) == []
        folder = attempt_folder(scene.house.settings.work_dir, mark)
        assert {path.name for path in folder.iterdir()} == {"log.txt", "lock"}

    def test_one_with_a_runner_is_left_alone(self, scene: Scene) -> None:
        run_id = scene.house.pretraining()
        mark = scene.desert()
        lock = occupy(attempt_folder(scene.house.settings.work_dir, mark))
        for _ in range(3):
            scene.upkeep.close_the_dead()
        os.close(lock)
        assert scene.house.run(run_id).state == "starting"

    def test_one_of_another_data_folder_is_left_alone(self, scene: Scene) -> None:
        run_id = scene.house.pretraining()
        scene.house.claim()
        for _ in range(3):
            scene.upkeep.close_the_dead()
        assert scene.house.run(run_id).state == "starting"


class TestTidy:
    def test_the_leader_brings_logs_to_the_store(self, scene: Scene) -> None:
        scene.house.pretraining()
        mark = scene.desert()
        ship_rest(scene.house.engine, mark, attempt_folder(scene.house.settings.work_dir, mark), 2**30)
        scene.upkeep.lead()
        for state in ("starting", "lost"):
            scene.upkeep.seal_logs()
            (piece,) = scene.house.ask(lambda s: logs.pieces(s, *mark))
            assert (piece.key is not None) == (state == "lost")
            with unit_of_work(scene.house.engine) as session:
                leases.close(session, mark.run, mark.fence, leases.Outcome(kind="lost"))
        assert scene.house.log(*mark) == b"last words"

    def test_what_is_held_is_left_alone(self, scene: Scene) -> None:
        scene.house.pretraining()
        folder = attempt_folder(scene.house.settings.work_dir, scene.desert())
        scene.upkeep.tidy()
        assert (folder / "resume.pt").exists()

    def test_what_is_over_is_trimmed_and_goes_after_a_day(self, scene: Scene) -> None:
        scene.house.pretraining()
        mark = scene.desert()
        folder = attempt_folder(scene.house.settings.work_dir, mark)
        with unit_of_work(scene.house.engine) as session:
            leases.close(session, mark.run, mark.fence, leases.Outcome(kind="lost"))
        scene.upkeep.tidy()
        assert scene.house.log(*mark) == b"last words"
        assert {path.name for path in folder.iterdir()} == {"log.txt", "lock"}
        past = time.time() - KEEP_SECONDS - 60
        for path in (folder, *folder.iterdir()):
            os.utime(path, (past, past))
        scene.upkeep.tidy()
        assert not folder.parent.exists()

    def test_what_was_deleted_goes_at_once(self, scene: Scene) -> None:
        scene.house.pretraining()
        mark = scene.desert()
        folder = attempt_folder(scene.house.settings.work_dir, mark)
        with unit_of_work(scene.house.engine) as session:
            leases.close(session, mark.run, mark.fence, leases.Outcome(kind="failed", error_kind="user"))
            session.get_one(Run, mark.run).deleted_at = datetime.now(UTC)
        scene.upkeep.tidy()
        assert not folder.parent.exists()


def test_the_thread_does_all_of_it_and_retires(scene: Scene) -> None:
    scene.house.pretraining()
    scene.upkeep.start()
    deadline = time.monotonic() + 20
    while scene.messages() == []:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    scene.upkeep.retire()
    assert not scene.upkeep.is_alive()
    row = scene.house.ask(lambda s: s.get_one(Worker, scene.shared.identity().id))
    assert row.state == "gone"
