"""What nobody else sees to any more is closed, ended, trimmed and removed."""

import os
import subprocess
import sys
import time
from datetime import UTC, datetime

from control.db.models import Run
from control.db.session import unit_of_work
from control.records.life import leases, shares
from control.records.scheduling.gangs import nodes_of
from tests.unit.worker.upkeep.scene import Scene
from worker.attempts.folder import KEEP_SECONDS, attempt_folder, occupy, open_folder
from worker.processes import Mark, marked


class TestTheDead:
    def test_an_attempt_without_a_runner_is_closed_when_seen_twice(self, scene: Scene) -> None:
        run_id = scene.house.pretraining()
        mark = scene.desert()
        left = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], env=mark.environment())
        scene.upkeep.remains.close_the_dead()
        assert scene.house.run(run_id).state == "starting"
        scene.upkeep.remains.close_the_dead()
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
            scene.upkeep.remains.close_the_dead()
        os.close(lock)
        assert scene.house.run(run_id).state == "starting"

    def test_one_of_another_data_folder_is_left_alone(self, scene: Scene) -> None:
        run_id = scene.house.pretraining()
        scene.house.claim()
        for _ in range(3):
            scene.upkeep.remains.close_the_dead()
        assert scene.house.run(run_id).state == "starting"


def test_a_share_whose_runner_is_dead_is_closed_as_lost(scene: Scene, share: Mark) -> None:
    with unit_of_work(scene.house.engine) as session:
        assert shares.take_share(session, scene.shared.identity()) is not None
    folder = open_folder(scene.house.settings.work_dir, share)
    os.close(occupy(folder))
    scene.upkeep.remains.close_the_dead()
    scene.upkeep.remains.close_the_dead()
    (_, row) = scene.house.ask(lambda s: nodes_of(s, share.run, [share.fence])[share.fence])
    assert (row.state, row.reason) == ("lost", "its runner and worker were killed")
    assert scene.house.run(share.run).state == "starting", "what becomes of the run is for its leader to say"


class TestTidy:
    def test_what_is_held_is_left_alone(self, scene: Scene) -> None:
        scene.house.pretraining()
        folder = attempt_folder(scene.house.settings.work_dir, scene.desert())
        scene.upkeep.remains.tidy()
        assert (folder / "resume.pt").exists()

    def test_what_is_over_is_trimmed_and_goes_after_a_day(self, scene: Scene) -> None:
        scene.house.pretraining()
        mark = scene.desert()
        folder = attempt_folder(scene.house.settings.work_dir, mark)
        with unit_of_work(scene.house.engine) as session:
            leases.close(session, mark.run, mark.fence, leases.Outcome(kind="lost"))
        scene.upkeep.remains.tidy()
        assert scene.house.log(*mark) == b"last words"
        assert {path.name for path in folder.iterdir()} == {"log.txt", "lock"}
        past = time.time() - KEEP_SECONDS - 60
        for path in (folder, *folder.iterdir()):
            os.utime(path, (past, past))
        scene.upkeep.remains.tidy()
        assert not folder.parent.exists()

    def test_what_was_deleted_goes_at_once(self, scene: Scene) -> None:
        scene.house.pretraining()
        mark = scene.desert()
        folder = attempt_folder(scene.house.settings.work_dir, mark)
        with unit_of_work(scene.house.engine) as session:
            leases.close(session, mark.run, mark.fence, leases.Outcome(kind="failed", error_kind="user"))
            session.get_one(Run, mark.run).deleted_at = datetime.now(UTC)
        scene.upkeep.remains.tidy()
        assert not folder.parent.exists()
