"""An attendant claims, stays with its runner, and closes what a dead runner left open."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from sqlalchemy import update

from control.db.models import Run
from control.db.session import unit_of_work
from control.gpus import Gpu
from control.records.scheduling.workers import list_slots
from control.states import MAX_LOSSES
from tests.unit.worker.house import CHILDREN, House
from worker.attempts.folder import attempt_folder, is_occupied
from worker.launch import package_environment
from worker.processes import Mark
from worker.tasks import Attendant

# A stand-in runner: says that it began, then does what it was told.
RUNNER = """
import os, signal, sys, time
from pathlib import Path
run, fence, leash = sys.argv[2], sys.argv[3], int(sys.argv[5])
Path("log.txt").write_text("the log of the job")
Path("large.pt").write_text("large")
Path("began").write_text(f"{run} {fence} {os.environ['DETCO_RUN']} {os.environ['DETCO_FENCE']} {os.getcwd()}")
BODY
"""

# A pool process: an attendant ends every descendant of its process, and those of the tests' are not its own.
POOL_PROCESS = """
import json, sys
from pathlib import Path
from control.records.scheduling.workers import WorkerIdentity
from control.settings import Settings
from worker.processes import become_subreaper
from worker.tasks import Attendant
become_subreaper()
attendants = {}  # one for the life of the process, as in a worker: each has its own connections and compiled queries
for line in sys.stdin:
    if line not in attendants:
        order = json.loads(line)
        identity = WorkerIdentity(id=order["worker"], host="host")
        settings = Settings(data_dir=order["data_dir"], shutdown_seconds=order["shutdown_seconds"])
        leaves = Path(order["leaves_at"]).exists
        attendants[line] = Attendant(settings, lambda identity=identity: identity, leaves, order["runner"])
    print(attendants[line].work("gpu"), flush=True)
"""


class Pool:
    """One pool process, and what it is asked to do."""

    def __init__(self) -> None:
        command = [sys.executable, "-c", POOL_PROCESS]
        self.process = subprocess.Popen(
            command, env=package_environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def begin(self, house: House, body: str | list[str], *, leaves_at: Path | str = "", shutdown: float = 10.0) -> None:
        runner = [sys.executable, "-c", RUNNER.replace("BODY", body), "runner"] if isinstance(body, str) else body
        order: dict[str, Any] = {
            "worker": house.worker.id,
            "data_dir": str(house.settings.data_dir),
            "shutdown_seconds": shutdown,
            "leaves_at": str(leaves_at or "/nowhere"),
            "runner": runner,
        }
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()

    def attempts(self) -> int:
        """How many attempts were made, once nothing is left to claim."""
        assert self.process.stdout is not None
        return int(self.process.stdout.readline())


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    made = Pool()
    yield made
    made.process.communicate()
    assert made.process.returncode == 0


def folder_of(house: House, run_id: str, fence: int = 1) -> Path:
    return attempt_folder(house.settings.work_dir, Mark(run_id, fence))


def wait_for(happened: Callable[[], object]) -> None:
    deadline = time.monotonic() + 120
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.slow
def test_nothing_to_claim_is_no_attempt(house: House, pool: Pool) -> None:
    pool.begin(house, "sys.exit(0)")
    assert pool.attempts() == 0


def test_a_runner_is_told_its_run_in_its_folder(house: House, pool: Pool) -> None:
    run_id = house.pretraining()
    pool.begin(house, "sys.exit(0)")
    assert pool.attempts() == 1
    folder = folder_of(house, run_id)
    assert (folder / "began").read_text().split() == [run_id, "1", run_id, "1", str(folder)]
    assert house.run(run_id).state == "starting", "a runner that ends with 0 has closed its attempt"


@pytest.mark.slow
@pytest.mark.parametrize(("body", "code"), [("os.kill(os.getpid(), signal.SIGKILL)", -9), ("sys.exit(1)", 1)])
def test_what_a_dead_runner_left_is_closed_as_lost(house: House, pool: Pool, body: str, code: int) -> None:
    run_id = house.pretraining()
    pool.begin(house, body)
    assert pool.attempts() == 1
    run = house.run(run_id)
    assert (run.state, run.losses) == ("queued", 1)
    assert f"exit code {code}" in (run.reason or "")
    (attempt,) = house.attempts(run_id)
    assert (attempt.state, attempt.log_tail) == ("lost", "the log of the job")
    assert house.log(run_id, attempt.fence) == b"the log of the job"
    assert {path.name for path in folder_of(house, run_id).iterdir()} == {"log.txt", "lock"}


@pytest.mark.slow
def test_row_15_attempts_leave_nothing_in_the_memory_of_a_pool_process(house: House, pool: Pool) -> None:
    def memory_after(attempts: int) -> int:
        for _ in range(attempts):
            house.pretraining()
        with unit_of_work(house.engine) as session:
            session.execute(update(Run).values(losses=MAX_LOSSES - 1))  # no second attempts
        pool.begin(house, ["/bin/false"])
        assert pool.attempts() == attempts
        return own_memory(pool.process.pid)

    settled = memory_after(45)  # until then it grows by what is made once, such as compiled queries
    assert memory_after(15) - settled < 2**20


def own_memory(pid: int) -> int:
    """Bytes a process has filled itself; pages of files come and go with the state of the machine."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("RssAnon:")).split()[1])


@pytest.mark.slow
def test_the_folder_is_locked_by_the_runner_alone(house: House, pool: Pool) -> None:
    run_id = house.pretraining()
    release = house.settings.data_dir / "release"
    pool.begin(house, f"while not Path({str(release)!r}).exists(): time.sleep(0.01)")
    try:
        wait_for((folder_of(house, run_id) / "began").exists)
        assert is_occupied(folder_of(house, run_id))
    finally:
        # Whatever was found: the pool process must be free for the next test.
        release.touch()
        pool.attempts()
    assert not is_occupied(folder_of(house, run_id))


def test_a_leaving_worker_lets_go_and_claims_nothing_more(house: House, pool: Pool) -> None:
    first = house.pretraining()
    second = house.pretraining()
    pool.begin(house, "os.read(leash, 1)", leaves_at=folder_of(house, first) / "began")
    assert pool.attempts() == 1
    assert house.run(second).state == "queued"


@pytest.mark.slow
def test_a_deaf_runner_is_ended_and_its_run_given_back(house: House, pool: Pool) -> None:
    run_id = house.pretraining()
    pool.begin(house, "time.sleep(600)", leaves_at=folder_of(house, run_id) / "log.txt", shutdown=0.5)
    assert pool.attempts() == 1
    assert [attempt.state for attempt in house.attempts(run_id)] == ["preempted"]
    assert house.run(run_id).state == "queued"


def test_a_runner_that_cannot_be_started_is_a_loss(house: House, pool: Pool) -> None:
    run_id = house.pretraining()
    pool.begin(house, ["/nowhere/python"])
    assert pool.attempts() == 1
    run = house.run(run_id)
    assert (run.state, run.losses) == ("queued", 1)
    assert "could not be started" in (run.reason or "")


def test_what_its_runner_leaves_behind_is_ended(house: House, pool: Pool) -> None:
    run_id = house.pretraining()
    orphan = "import time; time.sleep(600)"
    body = f"""
import subprocess
subprocess.Popen([sys.executable, "-c", {orphan!r}], start_new_session=True)
subprocess.Popen([sys.executable, "-c", {orphan!r}], start_new_session=True, env={{}})
os.kill(os.getpid(), signal.SIGKILL)
"""
    pool.begin(house, body)
    pool.attempts()
    assert psutil.Process(pool.process.pid).children(recursive=True) == []
    assert house.run(run_id).state == "queued"


@pytest.mark.slow
def test_a_stand_in_works_until_its_leash_is_let_go(house: House) -> None:
    run_id = house.pretraining(steps=5000)
    holder_of_the_leash = f"""
import os, sys
from pathlib import Path
from worker.launch import package_environment
from worker.processes import Leash, start
leash = Leash()
command = [sys.executable, {str(CHILDREN)!r}, "stand_in", "gpu", {house.worker.id!r}, "host", str(leash.fd)]
process = start(command, folder=Path.cwd(), environment=package_environment(), leash=leash)
sys.stdin.read()
leash.let_go()
sys.exit(process.wait())
"""
    told = {"DETCO_DATA_DIR": str(house.settings.data_dir), "DETCO_CONTROL_POLL_SECONDS": "0.05"}
    command = [sys.executable, "-c", holder_of_the_leash]
    holder = subprocess.Popen(command, env=package_environment() | told, stdin=subprocess.PIPE)
    wait_for(lambda: (house.run(run_id).progress or {}).get("step", 0) >= 2)
    holder.communicate()
    assert holder.returncode == 0
    assert [attempt.state for attempt in house.attempts(run_id)] == ["preempted"]


def test_gpus_are_looked_at_again_before_a_claim(house: House) -> None:
    run_id = house.pretraining()
    stranger = Gpu("GPU-1", "H100", 80 * 2**30, 70 * 2**30, 1)

    def work(gpu: Gpu) -> list[str | None]:
        attendant = Attendant(house.settings, lambda: house.worker, lambda: False, ("/no/such/runner",), lambda: [gpu])
        attendant.work("gpu")
        return [slot.set_aside for slot in house.ask(list_slots) if slot.is_gpu]

    (reason,) = work(stranger)
    assert "70.0 GiB" in (reason or "")
    assert house.attempts(run_id) == [], "no run fails for a stranger"
    assert work(stranger._replace(used=0)) == [None]
    assert house.attempts(run_id)[0].slots == ["GPU-1"]
