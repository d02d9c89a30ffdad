"""What a job says reaches the tables once, and what it names the store, whatever is away meanwhile."""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from PIL import Image
from sqlalchemy.exc import OperationalError

from control.db.session import open_engine, unit_of_work
from control.errors import StoreError, StoreFull
from control.records.journal import history, logs
from control.records.journal.logs import Piece
from control.records.store import objects
from control.storage.base import file_digest, key_of
from control.storage.local import LocalStore
from detco_core.contract.datasets import DatasetRef
from detco_core.contract.events import (
    ArtifactSaved,
    Body,
    CheckpointSaved,
    Event,
    Failed,
    Finished,
    Metrics,
    Progress,
    Stopped,
    Warned,
    encode,
)
from detco_core.contract.extractions.files import FOLDER, INDEX_FILE
from detco_core.contract.extractions.options import ExtractionOptions
from detco_core.contract.jobs import ExtractJob
from detco_core.extraction.job import run as extract
from detco_core.inference.tiny import write_tiny_bundle
from detco_core.runtime.reporter import Reporter
from tests.unit.worker.house import House
from worker.attempts.folder import open_folder
from worker.output.logs import LogShipper
from worker.output.sink import Feed, Sink
from worker.processes import Mark


class Times:
    """How often something is still to happen: set by the test, and taken by threads that upload side by side."""

    def __init__(self) -> None:
        self._left = 0
        self._lock = threading.Lock()

    @property
    def left(self) -> int:
        with self._lock:
            return self._left

    def will_be(self, times: int) -> None:
        with self._lock:
            self._left = times

    def take(self) -> bool:
        """Whether it is to happen now."""
        with self._lock:
            if self._left == 0:
                return False
            self._left -= 1
            return True


class SlowStore(LocalStore):
    """A store that keeps nothing before `gate` opens, fails as often as `failures` says, and loses what it has kept."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.gate = threading.Event()
        self.failures = Times()
        self.failure = StoreError("the store is away")
        self.losses = Times()

    def put(self, path: Path, sha256: str) -> str:
        self.gate.wait(30)
        if self.failures.take():
            raise self.failure
        key = super().put(path, sha256)
        if self.losses.take():  # another takes it for his own, and deletes it
            self.delete(key)
        return key


class Job:
    """Writes what a job would, and the sink that reads it."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.run_id = house.pretraining()
        self.claim = house.claim()
        self.folder = open_folder(house.settings.work_dir, Mark(self.run_id, self.claim.fence))
        self.store = SlowStore(house.settings.data_dir / "artifacts")
        self.store.gate.set()
        mark = Mark(self.run_id, self.claim.fence)
        self.sink = Sink(house.engine, self.store, house.services.bus, mark, self.folder, retry_seconds=0.01)
        self.shipper = LogShipper(house.engine, self.store, mark, self.folder, most=2**30)
        self.seq = 0

    def pieces(self) -> list[Piece]:
        found: list[Piece] = self.house.ask(lambda s: logs.pieces(s, self.run_id, self.claim.fence, 0))
        return found

    def say(self, *bodies: Body) -> None:
        with (self.folder / "events.jsonl").open("a") as file:
            for body in bodies:
                self.seq += 1
                file.write(encode(Event(self.seq, time.time(), body)) + "\n")

    def save(self, name: str, content: bytes = b"content") -> dict[str, object]:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        return {"path": name, "bytes": len(content), "sha256": file_digest(path)}

    def checkpoint(self, step: int) -> CheckpointSaved:
        return CheckpointSaved(step=step, epoch=0.0, **self.save(f"checkpoints/{step}.pt", b"%d" % step))  # type: ignore[arg-type]  # a dict of its three fields

    def artifact(self, name: str) -> ArtifactSaved:
        return ArtifactSaved(name=name, **self.save(name))  # type: ignore[arg-type]  # a dict of its three fields

    def pump_until(self, happened: Callable[[], object]) -> None:
        deadline = time.monotonic() + 120
        while not happened():
            assert time.monotonic() < deadline
            self.sink.pump()
            time.sleep(0.01)

    def pump_all(self) -> None:
        self.pump_until(self.sink.pump)

    def step(self) -> int | None:
        progress = self.house.run(self.run_id).progress
        return progress["step"] if progress else None

    def steps_of_checkpoints(self) -> list[int]:
        return sorted(c.step for c in self.house.ask(lambda s: history.list_checkpoints(s, self.run_id)).items)

    def offset(self) -> int:
        return self.house.attempts(self.run_id)[-1].event_offset


@pytest.fixture
def job(house: House) -> Iterator[Job]:
    made = Job(house)
    yield made
    made.store.gate.set()


def progress(step: int) -> Progress:
    return Progress(step=step, steps=10)


def test_nothing_said_is_nothing_to_take(job: Job) -> None:
    assert job.sink.pump()
    assert job.sink.last_seq == 0


def test_events_are_taken_in_order_and_once(job: Job) -> None:
    job.say(progress(1), Metrics(step=1, values={"loss": 2.0}))
    assert not job.sink.pump()
    assert job.sink.pump()
    job.say(progress(2))
    job.pump_all()
    events = job.house.ask(lambda s: history.list_events(s, job.run_id))
    assert [event.seq for event in events if event.seq] == [1, 2, 3]
    assert job.step() == 2
    assert job.offset() == (job.folder / "events.jsonl").stat().st_size


def test_a_checkpoint_is_registered_when_it_is_in_the_store_and_then_leaves_the_folder(job: Job) -> None:
    job.say(job.checkpoint(2), job.artifact("report.json"))
    job.pump_all()
    assert job.steps_of_checkpoints() == [2]
    assert job.house.artifact(job.run_id, "report.json") == b"content"
    assert not (job.folder / "checkpoints" / "2.pt").exists()
    assert (job.folder / "report.json").exists()


def test_a_shard_of_features_leaves_the_folder_too_and_its_index_part_stays(job: Job) -> None:
    (job.folder / "features").mkdir()
    job.say(job.artifact("features/00000.safetensors"), job.artifact("features/00000.jsonl"))
    job.pump_all()
    assert job.house.artifact(job.run_id, "features/00000.safetensors") == b"content"
    assert [path.name for path in (job.folder / "features").iterdir()] == ["00000.jsonl"]


def test_progress_does_not_wait_for_an_upload(job: Job) -> None:
    job.store.gate.clear()
    job.say(progress(1))
    before = (job.folder / "events.jsonl").stat().st_size
    job.say(job.checkpoint(1), progress(2))
    job.pump_until(lambda: job.step() == 2)
    assert not job.sink.pump()
    assert job.steps_of_checkpoints() == []
    assert job.offset() == before, "what is not stored yet is still to be read"
    job.store.gate.set()
    job.pump_all()
    assert job.steps_of_checkpoints() == [1]
    assert job.offset() == (job.folder / "events.jsonl").stat().st_size


def test_files_that_were_brought_are_told_as_people_know_them(job: Job) -> None:
    job.sink.known_as = {"/attempt/source.pt": "checkpoint ckp_1", "/attempt/source.pth": "weights official"}
    job.say(
        Warned(code="odd", message="/attempt/source.pt is odd"),
        Failed(kind="user", message="/attempt/source.pth holds no resnet18"),
    )
    job.pump_all()
    (warned, failed) = job.house.events(job.run_id, "warning") + job.house.events(job.run_id, "error")
    assert warned.payload["message"] == "checkpoint ckp_1 is odd"
    assert failed.payload["message"] == "weights official holds no resnet18"
    assert job.sink.ending == Failed(kind="user", message="weights official holds no resnet18")


def test_uploads_go_side_by_side_and_are_registered_in_order(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each waits until both are on their way; the first is stored after the second."""
    meeting, second = threading.Barrier(2), threading.Event()

    def put(path: Path, sha256: str, really: Callable[[Path, str], str] = job.store.put) -> str:
        meeting.wait(120)
        if path.name == "1.pt":
            assert second.wait(120)
        key = really(path, sha256)
        if path.name == "2.pt":
            second.set()
        return key

    monkeypatch.setattr(job.store, "put", put)
    job.say(job.checkpoint(1), job.checkpoint(2))
    job.pump_all()
    assert job.steps_of_checkpoints() == [1, 2]


def test_an_upload_is_tried_again(job: Job) -> None:
    job.store.failures.will_be(3)
    job.say(job.checkpoint(1), job.checkpoint(2))
    job.pump_all()
    assert job.steps_of_checkpoints() == [1, 2]
    assert job.sink.damaged == []


@pytest.mark.parametrize(
    ("failure", "code"),
    [(StoreFull("no room"), "store_full"), (StoreError("the store is away"), "store_unavailable")],
)
def test_a_store_that_takes_nothing_is_told_once_and_loses_nothing(job: Job, failure: StoreError, code: str) -> None:
    many = 10**9
    job.store.failures.will_be(many)
    job.store.failure = failure
    job.say(job.checkpoint(1), job.checkpoint(2), progress(3))
    job.pump_until(lambda: job.store.failures.left <= many - 4)
    assert job.step() == 3, "the run goes on"
    assert (job.folder / "checkpoints" / "1.pt").exists()
    job.store.failures.will_be(0)
    job.pump_all()
    assert job.steps_of_checkpoints() == [1, 2]
    (warning,) = job.house.events(job.run_id, "warning")
    assert warning.payload["code"] == code
    assert str(failure) in warning.payload["message"]
    job.store.failures.will_be(1)  # another outage
    job.say(job.checkpoint(4))
    job.pump_all()
    assert len(job.house.events(job.run_id, "warning")) == 2


@pytest.mark.slow
def test_an_extraction_goes_on_through_an_outage_of_the_store_and_loses_no_shard(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits with one shard on its disk, and goes on as they are taken away."""
    monkeypatch.setattr("detco_core.extraction.job._PATIENCE", 0.01)
    write_tiny_bundle(tmp_path / "bundle")
    (tmp_path / "photos").mkdir()
    for n in range(6):
        Image.new("RGB", (40, 30), (n, 9, 9)).save(tmp_path / "photos" / f"{n}.png")
    dataset = DatasetRef(name="photos@1", kind="images", root=str(tmp_path / "photos"))
    bundle, options = str(tmp_path / "bundle"), ExtractionOptions(pool="avg", shard_images=1)
    asked = ExtractJob(folder=str(job.folder), bundle=bundle, dataset=dataset, options=options, most_waiting=1)
    job.store.failures.will_be(10**9)
    with Reporter(job.folder) as reporter, ThreadPoolExecutor(1) as pool:
        extraction = pool.submit(extract, asked, reporter)
        job.pump_until(lambda: job.house.events(job.run_id, "warning"))
        assert not extraction.done()
        job.store.failures.will_be(0)
        job.pump_until(extraction.done)
        extraction.result()
    job.pump_all()
    names = [f"{FOLDER}/{n:05}{suffix}" for n in range(6) for suffix in (".safetensors", ".jsonl")]
    stored = {one.name: one for one in job.house.ask(lambda s: history.list_artifacts(s, job.run_id))}
    assert sorted(stored) == sorted([*names, f"{FOLDER}/{INDEX_FILE}"])
    assert all(job.store.exists(key_of(one.digest)) for one in stored.values())
    assert list((job.folder / FOLDER).glob("*.safetensors")) == []


def test_what_is_deleted_between_upload_and_registration_is_stored_again(job: Job) -> None:
    job.store.losses.will_be(2)
    job.say(job.checkpoint(1), job.artifact("report.json"))
    job.pump_all()
    assert job.steps_of_checkpoints() == [1]
    assert job.house.artifact(job.run_id, "report.json") == b"content"
    (checkpoint,) = job.house.ask(lambda s: history.list_checkpoints(s, job.run_id)).items
    assert job.store.exists(checkpoint.key)
    assert job.house.events(job.run_id, "warning") == []


def test_what_is_being_deleted_is_waited_for(job: Job) -> None:
    saved = job.checkpoint(1)
    with unit_of_work(job.house.engine) as session:
        objects.hold(session, key_of(saved.sha256), saved.bytes)
        objects.doom(session, [key_of(saved.sha256)])
        assert objects.begin_removal(session)
    job.say(saved)
    job.pump_until(lambda: job.store.exists(key_of(saved.sha256)))
    for _ in range(5):
        assert not job.sink.pump()
        time.sleep(0.01)
    assert job.steps_of_checkpoints() == []
    job.store.delete(key_of(saved.sha256))
    with unit_of_work(job.house.engine) as session:
        objects.end_removal(session, [key_of(saved.sha256)])
    job.pump_all()
    assert job.steps_of_checkpoints() == [1]
    assert job.store.exists(key_of(saved.sha256))


def test_a_database_that_is_away_loses_and_doubles_nothing(job: Job) -> None:
    engine = open_engine(f"{job.house.settings.resolved_database_url}?timeout=0")
    impatient = Sink(engine, job.store, job.house.services.bus, Mark(job.run_id, job.claim.fence), job.folder)
    job.say(progress(1), job.checkpoint(1), progress(2))
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA busy_timeout=10")
    with closing(sqlite3.connect(job.house.settings.data_dir / "detco.sqlite3", isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        with pytest.raises(OperationalError):
            impatient.pump()
        writer.execute("ROLLBACK")
    job.sink = impatient
    job.pump_all()
    assert len(job.house.events(job.run_id, "progress")) == 2
    assert job.steps_of_checkpoints() == [1]
    engine.dispose()


@pytest.mark.parametrize("path", ["gone.bin", "../../../outside", "/etc/hostname", "checkpoints"])
def test_a_file_that_is_not_there_is_damage_and_stops_nothing(job: Job, path: str) -> None:
    (job.folder / "checkpoints").mkdir()
    (job.folder.parents[2] / "outside").touch()
    job.say(ArtifactSaved(name="x", path=path, bytes=1, sha256="a" * 64), job.checkpoint(1), Finished())
    job.pump_all()
    assert len(job.sink.damaged) == 1
    assert path in job.sink.damaged[0]
    assert job.steps_of_checkpoints() == [1]


def test_a_file_that_is_not_what_was_named_is_damage(job: Job) -> None:
    saved = job.artifact("x")
    (job.folder / "x").write_bytes(b"changed")
    job.say(saved)
    job.pump_all()
    assert "sha256:" in job.sink.damaged[0]
    assert job.house.ask(lambda s: history.list_artifacts(s, job.run_id)) == []


@pytest.mark.parametrize("last", [Finished(step=3), Stopped(step=3), Failed(kind="nan", message="m")])
def test_the_last_event_is_remembered(job: Job, last: Finished | Stopped | Failed) -> None:
    job.say(progress(1), last)
    job.pump_all()
    assert job.sink.ending == last


def test_a_stale_sink_writes_nothing_more(job: Job) -> None:
    job.house.close(job.claim)
    version = job.house.run(job.run_id).version
    job.say(progress(1), job.checkpoint(1))
    job.pump_until(lambda: job.sink.is_stale)
    job.say(progress(2))
    job.sink.pump()
    assert job.house.run(job.run_id).version == version
    assert job.house.events(job.run_id, "progress") == []


class TestFeed:
    def test_takes_what_comes_and_then_the_rest_and_the_log(self, job: Job) -> None:
        feed = Feed(job.sink, job.shipper)
        feed.start()
        job.say(progress(1))
        deadline = time.monotonic() + 120
        while job.step() != 1:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert not feed.taken.is_set()
        job.say(job.checkpoint(2), Finished(step=2))
        (job.folder / "log.txt").write_text("a log")
        feed.finish()
        assert feed.taken.wait(20)
        assert job.sink.ending == Finished(step=2)
        assert job.steps_of_checkpoints() == [2]
        assert job.house.log(job.run_id, job.claim.fence) == b"a log"
        assert [piece.key is not None for piece in job.pieces()] == [True]

    def test_ends_without_a_log_too(self, job: Job) -> None:
        feed = Feed(job.sink, job.shipper)
        feed.start()
        feed.finish()
        assert feed.taken.wait(20)

    def test_a_fault_that_waiting_does_not_mend_is_told(self, job: Job) -> None:
        feed = Feed(job.sink, job.shipper)
        job.say(Metrics(step=2**70, values={"loss": 1.0}))
        feed.start()
        feed.join(20)
        assert feed.fault is not None
        assert not feed.taken.is_set()

    def test_a_stale_one_ends_by_itself(self, job: Job) -> None:
        job.house.close(job.claim)
        job.say(progress(1))
        feed = Feed(job.sink, job.shipper)
        feed.start()
        feed.join(20)
        assert not feed.is_alive()
        assert not feed.taken.is_set()
