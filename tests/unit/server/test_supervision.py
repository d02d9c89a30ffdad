"""The worker beside the service: started again when it dies, ended with it, gone when the service is killed."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from control.settings import load_settings
from server.supervision import Supervisor, worker_environment
from tests.processes import is_alive

CHILD = "import os, pathlib, time; pathlib.Path(f'started-{os.getpid()}').touch(); time.sleep(600)"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {CHILD}"


def until(condition: Callable[[], object], seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.02)


def started(folder: Path) -> list[int]:
    return sorted(int(path.name.removeprefix("started-")) for path in folder.glob("started-*"))


def make(folder: Path, code: str, patience: float = 60) -> Supervisor:
    return Supervisor([sys.executable, "-c", code], folder, os.environ | {"PYTHONPATH": str(Path.cwd())}, patience)


def test_the_environment_means_the_same_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load_settings(data_dir=tmp_path / "data", dataset_roots=("photos", "s3://bucket/x"))
    ours = {"DETCO_DATABASE_URL_FILE": "secrets/url", "DETCO_PORT": "1", "PYTHONPATH": "lib", "HOME": "/h"}
    theirs = worker_environment(settings, ours)
    assert theirs["DETCO_DATABASE_URL_FILE"] == str(tmp_path / "secrets" / "url")
    assert json.loads(theirs["DETCO_DATASET_ROOTS"]) == [str(tmp_path / "photos"), "s3://bucket/x"]
    assert str(tmp_path / "lib") in theirs["PYTHONPATH"].split(os.pathsep)
    assert (theirs["DETCO_PORT"], theirs["HOME"]) == ("1", "/h")


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    supervisor = make(tmp_path, CHILD)
    supervisor.start()
    yield supervisor
    supervisor.stop()


@pytest.mark.slow
def test_a_killed_worker_is_started_again(supervisor: Supervisor, tmp_path: Path) -> None:
    until(lambda: started(tmp_path))
    (first,) = started(tmp_path)
    os.kill(first, signal.SIGKILL)
    until(lambda: len(started(tmp_path)) == 2)
    second = next(pid for pid in started(tmp_path) if pid != first)
    assert is_alive(second)
    assert not is_alive(first)


@pytest.mark.slow
def test_stop_ends_the_worker_and_starts_no_other(supervisor: Supervisor, tmp_path: Path) -> None:
    until(lambda: started(tmp_path))
    supervisor.stop()
    assert [is_alive(pid) for pid in started(tmp_path)] == [False]


@pytest.mark.slow
def test_a_worker_that_will_not_end_is_killed(tmp_path: Path) -> None:
    supervisor = make(tmp_path, STUBBORN, patience=0.5)
    supervisor.start()
    until(lambda: started(tmp_path))
    supervisor.stop()
    assert [is_alive(pid) for pid in started(tmp_path)] == [False]


@pytest.mark.slow
def test_stop_before_start_is_harmless(tmp_path: Path) -> None:
    supervisor = make(tmp_path, CHILD)
    supervisor.stop()
    supervisor.start()
    supervisor.stop()
    assert started(tmp_path) == []


@pytest.mark.slow
def test_the_worker_goes_when_the_service_is_killed(tmp_path: Path) -> None:
    service = (
        "import sys, time; from pathlib import Path; from server.supervision import Supervisor; import os;"
        f"Supervisor([sys.executable, '-c', {CHILD!r}], Path({str(tmp_path)!r}), os.environ, 10).start();"
        "time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", service], env=os.environ | {"PYTHONPATH": str(Path.cwd())}) as process:
        until(lambda: started(tmp_path))
        process.kill()
    (worker,) = started(tmp_path)
    until(lambda: not is_alive(worker))
