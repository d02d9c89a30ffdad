"""A guard that is taken out of the service shows in what is judged, read from real tables and real processes."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
from sqlalchemy import Engine, update

from benchmarks.chaos.audit import Facts, audit, read_tables
from benchmarks.chaos.child import LEDGER, STEP_SECONDS
from benchmarks.chaos.deployment import HOUSE, Embedded
from benchmarks.chaos.sabotage import sabotage
from benchmarks.chaos.scene import Plan, Scene
from control.db.migrate import upgrade
from control.db.models import Run
from control.db.session import database_time, open_engine, unit_of_work
from control.records.life import feed, leases
from control.records.life.leases import Outcome
from control.records.runs.submission import NewRun, create_run
from control.records.scheduling.claims import claim
from control.records.scheduling.workers import NewSlot, NewWorker, register
from detco_core.contract.events import Event, Metrics
from worker.launch import package_environment

ONE_WRITER = "one writer: no row under another's fence"
NO_LEAK = "no slot leaked"
RUNNER = """
import sys, time
from pathlib import Path
from benchmarks.chaos.doors import job_command
from benchmarks.chaos.sabotage import sabotage
from worker import launch
from worker.processes import Leash
for name in sys.argv[1:]:
    sabotage(name)
print(launch.launch(job_command("pretrain"), Path(), launch.package_environment(), Leash()).pid, flush=True)
time.sleep(600)
"""
"""Starts a job as a runner does, and stays with it."""
PLAN = Plan(runs=0, real=0, seconds=0, seed=0, interval=1, freeze_share=0, under_way=0)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = open_engine(f"sqlite:///{tmp_path / 'detco.sqlite3'}")
    upgrade(made)
    yield made
    made.dispose()


@pytest.fixture(autouse=True)
def whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a sabotage changes is put back."""
    for room, name in ((leases, "lock_held"), (feed, "lock_held"), (leases, "_held"), (leases, "_free")):
        monkeypatch.setattr(room, name, getattr(room, name))


def say(engine: Engine, run: str, fence: int, seq: int) -> None:
    """What the attempt of this fence says, whoever has the run by now."""
    with unit_of_work(engine) as session:
        feed.ingest(session, run, fence, [Event(seq, 0.0, Metrics(step=seq, values={"fence": float(fence)}))], seq)


def a_stale_writer(engine: Engine) -> Facts:
    """One run, taken from its first attempt, which goes on writing, and completed by its second."""
    with unit_of_work(engine) as session:
        slots = (NewSlot(uuid="cpu:0", purpose="train"), NewSlot(uuid="cpu:1", purpose="train"))
        worker = register(session, NewWorker(host="a", pid=1, software="0", roots=("/",), slots=slots))
        run = create_run(session, NewRun(kind="pretrain", spec={"config": {}}, actor="tester")).id
    fences = []
    for seq in (1, 2):
        with unit_of_work(engine) as session:
            session.execute(update(Run).values(not_before=None))
            taken = claim(session, worker, "gpu")
            assert taken is not None
            fences.append(taken.fence)
        say(engine, run, taken.fence, seq)
        with unit_of_work(engine) as session:
            if seq == 1:
                session.execute(update(Run).values(lease_expires_at=database_time(session) - timedelta(seconds=9)))
                assert leases.reap(session) == [run]
    say(engine, run, fences[0], 3)
    with unit_of_work(engine) as session:
        leases.close(session, run, fences[1], Outcome(kind="completed"))
    runs, leaked, unsent = read_tables(engine)
    empty: dict[str, Any] = {
        "ledger": {},
        "frozen": set(),
        "messages": {},
        "most_messages": 0,
        "left": [],
        "refusals": {},
    }
    return Facts(submitted={run: None}, runs=runs, leaked_slots=leaked, unsent=unsent, **empty)


def test_nothing_is_found_in_a_whole_service(engine: Engine) -> None:
    found = audit(a_stale_writer(engine))
    assert (found[ONE_WRITER], found[NO_LEAK]) == ([], [])


def test_without_the_fence_another_writer_is_found(engine: Engine) -> None:
    sabotage("fence")
    (fault,) = audit(a_stale_writer(engine))[ONE_WRITER]
    assert "what attempt 1 said stands under" in fault


def test_slots_that_are_not_given_back_are_found(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("random.random", lambda: 0.0)
    sabotage("slots")
    assert len(audit(a_stale_writer(engine))[NO_LEAK]) == 2


@pytest.fixture
def job_of_a_killed_runner(tmp_path: Path) -> Iterator[Callable[..., psutil.Process]]:
    """Kills a runner with these guards out while its job makes steps; the job, dead or alive."""
    started: list[psutil.Process] = []
    config = {"seed": 7, "train": {"steps": 10**6, "checkpoint_every": 10**6}}
    job = {"run": "run_1", "dataset": {"name": "stand-in@1"}, "config": config, "resume": None}
    (tmp_path / "job.json").write_text(json.dumps(job))
    told = {HOUSE: str(tmp_path), STEP_SECONDS: "0.02", LEDGER: str(tmp_path / "ledger")}

    def kill(*guards: str) -> psutil.Process:
        command = [sys.executable, "-c", RUNNER, *guards]
        environment = package_environment() | told
        with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE) as runner:
            assert runner.stdout is not None
            started.append(psutil.Process(int(runner.stdout.readline())))
            wait_until(lambda: steps(tmp_path) > 0)
            runner.kill()
        return started[0]

    yield kill
    for process in started:
        if process.is_running():
            process.kill()


def steps(folder: Path) -> int:
    ledger = folder / "ledger"
    return len(ledger.read_text().splitlines()) if ledger.exists() else 0


def wait_until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.slow
def test_a_job_that_outlives_its_runner_is_found(
    job_of_a_killed_runner: Callable[..., psutil.Process], tmp_path: Path
) -> None:
    play = Scene(Embedded(tmp_path, 0, 0.1), PLAN)
    job = job_of_a_killed_runner("orphans")
    reached = steps(tmp_path)
    wait_until(lambda: steps(tmp_path) > reached)  # nobody ends it
    assert play._left() == [f"job {job.pid}"]


@pytest.mark.slow
def test_a_job_that_dies_with_its_runner_is_no_fault(
    job_of_a_killed_runner: Callable[..., psutil.Process], tmp_path: Path
) -> None:
    play = Scene(Embedded(tmp_path, 0, 0.1), PLAN)
    job_of_a_killed_runner()
    wait_until(lambda: play._left() == [])
