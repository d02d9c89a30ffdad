"""One worker leads: it takes back, evaluates, delivers, and sends what is owed."""

import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from sqlalchemy import delete, select, update
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from control import tracing
from control.db.models import Attempt, Checkpoint, DatasetVersion, Delivery, OutboxEntry, Run
from control.db.session import database_time, open_engine, unit_of_work
from control.records import leaders
from control.records.journal import logs
from control.records.life import leases
from control.records.scheduling import preemption
from control.records.sweeps.sweep_plans import NewSweep, SweepEvaluation, plan_sweep
from control.records.sweeps.sweeps import create_sweep
from control.records.webhooks import notices, webhooks
from control.signing import signing_key
from tests.collector import Collector
from tests.unit.worker.house import House
from tests.unit.worker.upkeep.scene import Scene
from worker.attempts.folder import attempt_folder
from worker.output.logs import ship_rest
from worker.upkeep import leader
from worker.upkeep.leader import DUTY


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
        scene.upkeep.leader.follow_sweeps()
        assert self.evaluations(scene) == 0  # it does not lead yet
        scene.upkeep.leader.lead()
        for _ in range(2):
            scene.upkeep.leader.follow_sweeps()
        assert self.evaluations(scene) == 1


def test_the_leader_has_others_make_room(scene: Scene) -> None:
    guest = scene.house.pretraining()
    taken = scene.house.claim()
    with unit_of_work(scene.house.engine) as session:
        leases.start(session, guest, taken.fence, 1)
        long_ago = database_time(session) - timedelta(hours=1)
        session.execute(update(Attempt).values(started_at=long_ago))
    urgent = scene.house.pretraining(priority=1, preempt=True)
    scene.upkeep.leader.lead()
    assert scene.house.run(guest).desired_state == "preempt"
    kept = scene.house.run(urgent)
    assert kept.reserved_host == "host"


class TestLead:
    def test_a_leader_sends_what_is_owed(self, scene: Scene) -> None:
        scene.house.pretraining()
        scene.upkeep.leader.lead()
        assert scene.messages() == ["gpu"]

    def test_another_does_not(self, scene: Scene) -> None:
        with unit_of_work(scene.house.engine) as session:
            assert leaders.lead(session, DUTY, "another")
        scene.house.pretraining()
        scene.upkeep.leader.lead()
        scene.upkeep.leader.sweep_outbox()
        assert scene.messages() == []

    def test_the_leader_alone_tries_what_webhooks_are_owed(self, scene: Scene) -> None:
        with unit_of_work(scene.house.engine) as session:
            key = signing_key(scene.house.settings)
            made = webhooks.create_webhook(session, key, "http://127.0.0.1:9/", ["*"], "anna")
            notices.owe_test(session, made.webhook, "anna")
        scene.upkeep.leader.deliver()
        assert not scene.upkeep.leader._courier._under_way
        scene.upkeep.leader.lead()
        scene.upkeep.leader.deliver()
        for future in scene.upkeep.leader._courier._under_way.values():
            future.result(30)
        (delivery,) = scene.house.ask(lambda s: list(s.scalars(select(Delivery))))
        assert (delivery.state, delivery.tries) == ("pending", 1)
        assert "not a public address" in delivery.attempts[0]["error"]

    def test_a_lease_that_ended_is_taken_back_and_its_attempt_is_a_span(
        self, scene: Scene, collector: Collector, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(tracing, "END_SECONDS", 60.0)
        for name, value in collector.environment.items():
            monkeypatch.setenv(name, value)
        run_id = expired(scene)
        scene.upkeep.leader._in_touch_since = time.monotonic() - 60
        scene.upkeep.leader.lead()
        assert scene.house.run(run_id).state == "queued"
        assert [span.name for span in collector.spans if span.parent_span_id == b""] == ["attempt pretrain"]

    def test_after_an_outage_runners_have_the_first_word(self, scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
        """Their leases ended while the database was away; they renew as soon as it answers."""
        monkeypatch.setattr(leader, "IN_TOUCH_SECONDS", 1000.0)
        scene.upkeep.leader._in_touch_since = time.monotonic() - 2000
        run_id = expired(scene)
        with monkeypatch.context() as away:
            away.setattr(scene.upkeep.leader, "_engine", open_engine("postgresql+psycopg://nobody@127.0.0.1:9/none"))
            with pytest.raises(OperationalError):
                scene.upkeep.leader.lead()
        scene.upkeep.leader.lead()
        assert scene.house.run(run_id).state == "starting"
        monkeypatch.setattr(leader, "IN_TOUCH_SECONDS", 0.0)
        scene.upkeep.leader.lead()
        assert scene.house.run(run_id).state == "queued"

    @pytest.mark.parametrize(("share", "state"), [(0.2, "queued"), (0.3, "starting")])
    def test_rounds_may_be_slow_but_not_as_long_as_leases(
        self, scene: Scene, monkeypatch: pytest.MonkeyPatch, share: float, state: str
    ) -> None:
        now, lease = [1000.0], 40.0
        settings = scene.house.settings.model_copy(update={"lease_seconds": lease})
        monkeypatch.setattr(scene.upkeep.leader, "_settings", settings)
        monkeypatch.setattr(leader, "time", SimpleNamespace(monotonic=lambda: now[0]))
        arrange = preemption.arrange

        def slowly(session: Session, patience: float) -> list[str]:
            now[0] += share * lease
            return arrange(session, patience)

        monkeypatch.setattr(preemption, "arrange", slowly)
        run_id = expired(scene)
        for _ in range(4):
            scene.upkeep.leader.lead()
            now[0] += 1
        assert scene.house.run(run_id).state == state

    def test_wake_ups_nobody_followed_are_repeated(self, scene: Scene) -> None:
        scene.upkeep.leader.lead()
        run_id = scene.house.pretraining()
        with unit_of_work(scene.house.engine) as session:
            session.execute(delete(OutboxEntry))
            session.get_one(Run, run_id).kicked_at = datetime(2020, 1, 1, tzinfo=UTC)
        scene.upkeep.leader.sweep_outbox()
        scene.upkeep.leader.lead()
        assert scene.messages() == ["gpu"]


def test_the_leader_brings_logs_to_the_store(scene: Scene) -> None:
    scene.house.pretraining()
    mark = scene.desert()
    ship_rest(scene.house.engine, mark, attempt_folder(scene.house.settings.work_dir, mark), 2**30)
    scene.upkeep.leader.lead()
    for state in ("starting", "lost"):
        scene.upkeep.leader.seal_logs()
        (piece,) = scene.house.ask(lambda s: logs.pieces(s, *mark))
        assert (piece.key is not None) == (state == "lost")
        with unit_of_work(scene.house.engine) as session:
            leases.close(session, mark.run, mark.fence, leases.Outcome(kind="lost"))
    assert scene.house.log(*mark) == b"last words"
