"""The upkeep's thread does all of it."""

import time

from control.db.models import Worker
from tests.unit.worker.upkeep.scene import Scene


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
