"""Work that waits is found without a message."""

import time

from control.db.session import unit_of_work
from control.records.life import shares
from control.records.scheduling import workers as worker_rows
from control.settings import Settings
from tests.unit.worker.house import House
from tests.unit.worker.upkeep.scene import Scene
from worker.processes import Mark


class TestLook:
    def test_it_is_noted(self, scene: Scene) -> None:
        scene.upkeep.lookout.look()
        (row,) = [w for w in scene.house.ask(worker_rows.list_workers) if w.id == scene.shared.identity().id]
        assert row.looked_at is not None

    def test_work_that_nobody_takes_for_too_long_ends_the_worker(self, house: House, settings: Settings) -> None:
        scene = Scene(house, settings.model_copy(update={"stall_seconds": 0.001}))
        house.pretraining()
        scene.upkeep.lookout.look()
        assert not scene.upkeep.lookout.has_stalled
        time.sleep(0.01)
        scene.upkeep.lookout.look()
        assert scene.upkeep.lookout.has_stalled

    def test_idle_it_sends_nothing(self, scene: Scene) -> None:
        scene.upkeep.lookout.look()
        assert scene.messages() == []

    def test_work_that_waits_is_woken_then_taken_by_a_stand_in(self, scene: Scene) -> None:
        scene.house.pretraining()
        scene.upkeep.lookout.look()
        assert (scene.messages(), scene.stand_ins.started) == (["gpu"], [])
        scene.upkeep.lookout.look()
        assert scene.stand_ins.started == ["gpu"]

    def test_work_that_was_taken_is_forgotten(self, scene: Scene) -> None:
        scene.house.pretraining()
        scene.upkeep.lookout.look()
        claim = scene.house.claim()
        scene.upkeep.lookout.look()
        scene.house.close(claim, "preempted")
        scene.upkeep.lookout.look()
        assert scene.stand_ins.started == []

    def test_a_broker_that_takes_nothing_is_not_waited_for(self, house: House, settings: Settings) -> None:
        roots = settings.dataset_roots
        away = Settings(
            data_dir=settings.data_dir, host_name="host", broker_url="redis://127.0.0.1:9/0", dataset_roots=roots
        )
        scene = Scene(house, away)
        house.pretraining()
        scene.upkeep.lookout.look()
        assert scene.stand_ins.started == ["gpu"]

    def test_a_leaving_worker_looks_no_more(self, scene: Scene) -> None:
        scene.house.pretraining()
        scene.shared.stop()
        scene.upkeep.lookout.look()
        scene.upkeep.lookout.look()
        assert (scene.messages(), scene.stand_ins.started) == ([], [])


def test_a_share_of_a_run_that_another_host_leads_is_taken_up_by_a_stand_in(scene: Scene, share: Mark) -> None:
    scene.upkeep.lookout.join_others()
    scene.upkeep.lookout.join_others()
    assert scene.stand_ins.started == ["gpu"], "called once"
    with unit_of_work(scene.house.engine) as session:
        assert shares.take_share(session, scene.shared.identity()) is not None
    scene.stand_ins.started.clear()
    scene.upkeep.lookout.join_others()
    assert scene.stand_ins.started == []
