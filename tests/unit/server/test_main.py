"""`python -m server` as a person starts it: ready in time, gone in time, nothing left behind."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from tests.processes import kill, of_folder, words_of

pytestmark = pytest.mark.slow

READY_SECONDS = 60
END_SECONDS = 30


class Server:
    """One `python -m server` on a free port."""

    def __init__(self, folder: Path, *arguments: str, **settings: str) -> None:
        self.folder = folder
        environment = {name: value for name, value in os.environ.items() if not name.startswith("DETCO_")}
        environment |= {"PYTHONPATH": str(Path.cwd()), "OMP_NUM_THREADS": "1"} | settings
        command = [sys.executable, "-m", "server", "--data-dir", str(folder), "--port", "0", *arguments]
        self.process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)

    @property
    def url(self) -> str:
        return str(json.loads((self.folder / "server.json").read_text())["url"])

    def until_ready(self, path: str = "/readyz") -> None:
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            assert self.process.poll() is None
            try:
                if httpx.get(f"{self.url}{path}", timeout=30).status_code == 200:
                    return
            except (OSError, ValueError, httpx.HTTPError):
                pass
            time.sleep(0.1)
        pytest.fail("not ready in time")

    def processes(self) -> list[psutil.Process]:
        """All that names the data folder on its command line or works inside it."""
        return of_folder(self.folder)

    def left(self) -> list[str]:
        """The same in words: who started it, how long ago, and what it waits for."""
        return [_in_words(process) for process in self.processes()]

    def gone(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self.processes() and time.monotonic() < deadline:
            time.sleep(0.1)
        return not self.processes()

    def end(self) -> None:
        for process in self.processes():
            kill(process)
        self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()


def _in_words(process: psutil.Process) -> str:
    try:
        place = Path(f"/proc/{process.pid}")
        files = sorted({str(file.readlink()) for file in (place / "fd").iterdir()})
        age, waits = time.time() - process.create_time(), (place / "wchan").read_text()
        whose = f"{process.pid} of {process.ppid()}, {age:.1f} s old, {process.status()} in {waits}"
        return f"{whose}, {process.num_threads()} threads: {' '.join(process.cmdline())}; open: {files}"
    except (psutil.Error, OSError):
        return f"{process.pid}, gone by now"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def make(*arguments: str, **settings: str) -> Server:
        servers.append(Server(tmp_path / "data", *arguments, **settings))
        return servers[-1]

    yield make
    for server in servers:
        server.end()


def worker_of(server: Server) -> psutil.Process:
    children = psutil.Process(server.process.pid).children()
    (worker,) = [process for process in children if "-m worker " in " ".join(words_of(process))]
    return worker


def test_ready_kept_alone_and_gone(start: Callable[..., Server]) -> None:
    server = start()
    assert server.process.stdout is not None
    server.until_ready()
    assert server.process.stdout.readline().startswith("DetCo Server")
    who = {"Authorization": f"Bearer {(server.folder / 'token').read_text().strip()}"}
    assert httpx.get(f"{server.url}/v1/info", headers=who, timeout=60).status_code == 200
    first = worker_of(server)
    first.kill()
    second = start()  # while another worker comes up
    assert second.process.wait(READY_SECONDS) == 1
    assert httpx.get(f"{server.url}/livez", timeout=60).status_code == 200
    assert another_worker(server, first)
    server.process.send_signal(signal.SIGINT)
    assert server.process.wait(END_SECONDS) == 0
    assert server.left() == []
    assert not (server.folder / "server.json").exists()


def another_worker(server: Server, first: psutil.Process) -> bool:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        if any(process.pid != first.pid for process in psutil.Process(server.process.pid).children()):
            return True
        time.sleep(0.1)
    return False


def test_nothing_outlives_a_killed_server(start: Callable[..., Server]) -> None:
    server = start()
    server.until_ready()
    server.process.kill()
    server.process.wait()
    assert server.gone(END_SECONDS), server.left()


def test_one_part_alone_keeps_no_worker(start: Callable[..., Server]) -> None:
    server = start("--only", "features")
    server.until_ready()
    assert psutil.Process(server.process.pid).children() == []
    assert httpx.get(f"{server.url}/v1/info", timeout=60).status_code == 404
    assert httpx.post(f"{server.url}/features", timeout=60).status_code == 401


def test_settings_that_are_wrong_are_named(start: Callable[..., Server]) -> None:
    server = start(DETCO_DATABASE_URL="postgresql://somewhere/x")
    assert server.process.wait(READY_SECONDS) == 1
