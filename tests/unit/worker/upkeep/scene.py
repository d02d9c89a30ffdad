"""A worker's upkeep and what it looks after."""

from pathlib import Path

from control.jobs import make_celery
from control.records.runs.kinds import Queue
from control.records.scheduling import workers as worker_rows
from control.records.scheduling.workers import WorkerIdentity
from control.settings import Settings
from tests.unit.worker.house import House
from worker.attempts.folder import open_folder
from worker.processes import Mark
from worker.upkeep.shared import Shared
from worker.upkeep.standins import StandIns
from worker.upkeep.thread import Upkeep


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
        self.upkeep.presence.register()

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
