"""A job that prints, and a store that may be away."""

from pathlib import Path

from control.errors import StoreError
from control.records.journal import logs
from control.records.journal.logs import Piece
from control.storage.local import LocalStore
from tests.unit.worker.house import House
from worker.attempts.folder import open_folder
from worker.output.logs import LogShipper
from worker.processes import Mark


class Store(LocalStore):
    """One that can be away."""

    is_away = False

    def put(self, path: Path, sha256: str) -> str:
        if self.is_away:
            raise StoreError("the store is away")
        return super().put(path, sha256)


class Printer:
    """Prints as a job would."""

    def __init__(self, house: House) -> None:
        self.house = house
        run_id = house.pretraining()
        self.mark = Mark(run_id, house.claim().fence)
        self.folder = open_folder(house.settings.work_dir, self.mark)
        self.store = Store(house.settings.data_dir / "artifacts")
        self.printed = b""

    def shipper(self, most: int = 2**30) -> LogShipper:
        return LogShipper(self.house.engine, self.store, self.mark, self.folder, most)

    def say(self, data: bytes) -> None:
        self.printed += data
        with (self.folder / "log.txt").open("ab") as file:
            file.write(data)

    def pieces(self) -> list[Piece]:
        found: list[Piece] = self.house.ask(lambda s: logs.pieces(s, *self.mark))
        return found

    def kept(self) -> bytes:
        return self.house.log(*self.mark)
