"""Fixtures of the worker's tests: a whole control plane in a temporary folder."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from control.bus import PollingBus
from control.db.session import unit_of_work
from control.records.scheduling import workers
from control.records.scheduling.workers import NewSlot, NewWorker
from control.settings import Settings
from control.storage.local import LocalStore
from tests.migrated import open_migrated
from tests.unit.worker.house import House, add_photos
from worker.attempts.folder import all_folders
from worker.attempts.services import Services
from worker.processes import marked, sweep


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        data_dir=tmp_path / "data",
        host_name="host",
        dataset_roots=(str(tmp_path),),
        control_poll_seconds=0.05,
        heartbeat_seconds=0.5,
        grace_seconds=20.0,
        shutdown_seconds=10.0,
    )


@pytest.fixture
def house(settings: Settings, tmp_path: Path) -> Iterator[House]:
    engine = open_migrated(settings.resolved_database_url)
    store = LocalStore(settings.data_dir / "artifacts")
    with unit_of_work(engine) as session:
        slots = (NewSlot(uuid="cpu:0", purpose="train"), NewSlot(uuid="light:0", purpose="light"))
        new = NewWorker(host="host", pid=1, software="test", roots=(str(tmp_path),), slots=slots)
        worker = workers.register(session, new)
        photos = add_photos(session, store, tmp_path)
    yield House(Services(settings, engine, store, PollingBus()), worker, photos)
    engine.dispose()
    for mark, _ in all_folders(settings.work_dir):
        sweep(lambda mark=mark: marked(mark))  # type: ignore[misc]  # mypy cannot infer a lambda's default


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of this folder start runners and jobs, or stand beside those that do: none is a fast one."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.slow)
