"""A host in a network of its own is cut off from the database alone: its run goes on elsewhere, once.

Two whole workers in two network namespaces, PostgreSQL at the end of a cable to each; the artifact store is a disk that
both see. Only root may make such networks.
"""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
import pytest
from sqlalchemy import select

from benchmarks.hosts.cables import Cable, cables
from benchmarks.servers import HASTY, Postgres, postgres
from control.bus import PollingBus
from control.db.migrate import upgrade
from control.db.models import Run, Worker
from control.db.session import database_time, open_engine, unit_of_work
from control.records.journal import history
from control.records.runs.actions import request_action
from control.records.runs.runs import get_run
from control.records.scheduling.workers import NewWorker, list_slots, list_workers, register
from control.settings import Settings
from control.storage.local import LocalStore
from detco_core.contract.events import Metrics, Stopped, decode
from tests.processes import words_of
from tests.unit.worker.house import CHILDREN, House, add_photos, weights_after
from worker.attempts.services import Services
from worker.processes import Mark, marked

STEP_SECONDS, EVERY = 0.1, 10
LEASE_SECONDS, GRACE_SECONDS = 20.0, 10.0
LOCK = """
import sys, time
from sqlalchemy import text
from control.db.session import open_engine
with open_engine(sys.argv[1]).begin() as connection:
    connection.execute(text("SELECT id FROM runs WHERE id = :id FOR UPDATE"), {"id": sys.argv[2]})
    print("locked", flush=True)
    time.sleep(600)
"""
"""A transaction that is cut off between two of its statements."""


class Host:
    """A worker on the other end of a cable."""

    def __init__(self, name: str, cable: Cable, folder: Path) -> None:
        self.name = name
        self.cable = cable
        self._locker: subprocess.Popen[bytes] | None = None
        self.work = folder / name / "work"
        self._url = f"postgresql+psycopg://postgres@{cable.address}/postgres"
        told = {
            "DETCO_DATABASE_URL": self._url,
            "DETCO_STORE_URL": f"file://{folder / 'store'}",
            "DETCO_DATASET_ROOTS": str(folder),
            "DETCO_HOST_NAME": name,
            "DETCO_TRAIN_SLOTS": "1",
            "DETCO_LIGHT_SLOTS": "1",
            "DETCO_LEASE_SECONDS": str(LEASE_SECONDS),
            "DETCO_GRACE_SECONDS": str(GRACE_SECONDS),
            "DETCO_HEARTBEAT_SECONDS": "1",
            "DETCO_CONTROL_POLL_SECONDS": "0.5",
            "DETCO_SELF_POLL_SECONDS": "1",
            "PYTHONPATH": os.pathsep.join([str(Path.cwd()), os.environ.get("PYTHONPATH", "")]),
        }
        kept = {key: value for key, value in os.environ.items() if not key.startswith("DETCO_")}
        self._environment = kept | told
        with (folder / f"{name}.log").open("ab") as log:
            self._worker = self._start(
                str(CHILDREN), "worker", "--data-dir", str(folder / name), stdout=log, stderr=log
            )

    def _start(self, *arguments: str, **output: Any) -> "subprocess.Popen[bytes]":
        return subprocess.Popen([*self.cable.entry, sys.executable, *arguments], env=self._environment, **output)

    def lock(self, run_id: str) -> None:
        """Begin a transaction that holds the run's row for as long as the host lives."""
        self._locker = self._start("-c", LOCK, self._url, run_id, stdout=subprocess.PIPE)
        assert self._locker.stdout is not None
        assert self._locker.stdout.readline() == b"locked\n"

    def said(self, run_id: str) -> list[tuple[float, object]]:
        """When its first attempt of the run said what, as it stands in the attempt's folder."""
        text = (self.work / run_id / "attempt-1" / "events.jsonl").read_text()
        return [(event.time, event.body) for event in map(decode, text.splitlines())]

    def end(self) -> None:
        if self._locker is not None:
            self._locker.kill()
            self._locker.communicate()
        self._worker.terminate()
        try:
            self._worker.wait(40)
        except subprocess.TimeoutExpired:
            for process in psutil.process_iter():
                if self._is_of(process):
                    process.kill()
            raise

    def _is_of(self, process: psutil.Process) -> bool:
        try:
            return process.environ().get("DETCO_HOST_NAME") == self.name
        except psutil.Error:
            return False


@pytest.fixture
def wires() -> Iterator[dict[str, Cable]]:
    if os.geteuid() != 0:
        pytest.skip("only root may make the networks this test is about")
    try:
        with cables(("left", "right")) as made:
            yield made
    except PermissionError as error:
        pytest.skip(f"networks cannot be made here: {error}")


@pytest.fixture
def server(wires: dict[str, Cable]) -> Iterator[Postgres]:
    listening = "listen_addresses=" + ",".join(wire.address for wire in wires.values())
    with postgres((*HASTY, listening), [wire.network for wire in wires.values()]) as running:
        yield running


@pytest.fixture
def house(server: Postgres, tmp_path: Path) -> Iterator[House]:
    engine, store = open_engine(server.url), LocalStore(tmp_path / "store")
    upgrade(engine)
    with unit_of_work(engine) as session:
        nobody = register(session, NewWorker(host="nobody", pid=1, software="test", roots=(), slots=()))
        photos = add_photos(session, store, tmp_path)
    yield House(Services(Settings(data_dir=tmp_path), engine, store, PollingBus()), nobody, photos)
    engine.dispose()


def until(happened: Callable[[], object], what: str, seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, f"it did not happen: {what}"
        time.sleep(0.1)


def said(house: House, run_id: str) -> Counter[str]:
    """What is kept of what the run's first attempt said, by type."""
    found = house.ask(lambda session: history.list_events(session, run_id, limit=10_000))
    return Counter(event.type for event in found if event.fence == 1 and event.seq is not None)


def heard_of(house: House, name: str) -> datetime:
    found: list[Worker] = house.ask(list_workers)
    return max(worker.seen_at for worker in found if worker.host == name)


def is_free(house: House, run_id: str) -> bool:
    """Whether no transaction holds the run's row."""
    with unit_of_work(house.engine) as session:
        return session.scalar(select(Run.id).where(Run.id == run_id).with_for_update(skip_locked=True)) is not None


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_what_is_cut_off_stops_its_job_in_time_and_writes_nothing_more(
    house: House, wires: dict[str, Cable], tmp_path: Path
) -> None:
    run_id = house.pretraining(steps=100_000, every=EVERY, seconds=STEP_SECONDS)
    paused = house.pretraining()
    with unit_of_work(house.engine) as session:
        request_action(session, get_run(session, paused), "pause", "test")
    hosts = [right := Host("right", wires["right"], tmp_path)]
    try:
        until(lambda: (house.run(run_id).progress or {}).get("step", 0) > EVERY, "right trains")
        hosts.append(Host("left", wires["left"], tmp_path))
        until(lambda: any(w.host == "left" for w in house.ask(list_workers)), "left is there")
        right.lock(paused)
        assert not is_free(house, paused)
        right.cable.pull()
        cut = time.time()
        before = said(house, run_id)
        until(lambda: [a.host for a in house.attempts(run_id)] == ["right", "left"], "left takes the run")
        taken = house.attempts(run_id)[1].created_at.timestamp()
        told = right.said(run_id)
        assert max(time for time, body in told if isinstance(body, Metrics)) > cut + LEASE_SECONDS / 2  # it trained on
        assert isinstance(told[-1][1], Stopped)
        assert told[-1][0] < taken
        assert [p for p in marked(Mark(run_id, 1)) if words_of(p)[-1:] == ["pretrain"]] == []
        until(lambda: len(house.events(run_id, "started")) == 2, "left trains")
        with unit_of_work(house.engine) as session:
            request_action(session, get_run(session, run_id), "finish", "test")
            plugged_in = database_time(session)
        until(lambda: is_free(house, paused), "the server lets go of what right had locked")
        right.cable.plug_in()
        until(lambda: house.run(run_id).state == "completed", "left ends it")
        until(lambda: not marked(Mark(run_id, 1)), "right has let go")
        until(lambda: heard_of(house, "right") > plugged_in, "right is back")
    finally:
        for host in hosts:
            host.cable.plug_in()
        for host in hosts:
            host.end()

    assert said(house, run_id) == before
    assert [attempt.state for attempt in house.attempts(run_id)] == ["lost", "stopped"]
    last = house.ask(lambda session: history.newest_checkpoint(session, run_id))
    step, state = json.loads(b"".join(house.store.open_range(last.key)))
    assert (step, state.encode()) == (last.step, weights_after(last.step))
    assert house.states(run_id)[-1] == "completed"
    assert house.states(run_id).count("completed") == 1
    assert [slot.uuid for slot in house.ask(list_slots) if slot.run_id is not None] == []
