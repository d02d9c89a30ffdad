"""The embedded service of the demo: `python -m server` in a process of its own, gone when the demo ends."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from detco_client import DetcoClient

COMMAND = ("-m", "server", "--embedded")
READY_SECONDS = 60.0
STOP_SECONDS = 30.0


class ServiceTrouble(Exception):
    """The service did not start, or did not leave as it should."""


class Service:
    """The service over one data folder; use it in a `with`."""

    def __init__(self, data: Path, log: Path, roots: tuple[Path, ...]) -> None:
        self.data = data
        self.log = log
        self.roots = roots
        self.process: subprocess.Popen[bytes] | None = None
        self.started = 0.0

    def __enter__(self) -> Self:
        self.data.mkdir(parents=True, exist_ok=True)
        (self.data / "server.json").unlink(missing_ok=True)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("DETCO_")}
        environment["DETCO_DATASET_ROOTS"] = json.dumps([str(root) for root in self.roots])
        command = [sys.executable, *COMMAND, "--data-dir", str(self.data), "--port", "0"]
        self.started = time.time()
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment)
        try:
            self._wait_ready(self.process)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return str(json.loads((self.data / "server.json").read_text("utf-8"))["url"])

    def client(self) -> DetcoClient:
        return DetcoClient(self.url, (self.data / "token").read_text("utf-8").strip())

    def answers(self) -> bool:
        """Whether a service runs on this data folder, ready to work."""
        if not ((self.data / "server.json").exists() and (self.data / "token").exists()):
            return False
        with self.client() as client:
            return client.ready()

    def stop(self) -> None:
        """End the service as Ctrl-C would, and make sure that nothing of it is left.

        Raises:
            ServiceTrouble: when it did not go by itself in time, or left processes behind; they are ended first.
        """
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
        left = self._left()
        for process in left:
            process.kill()
        if left:
            names = ", ".join(str(process.pid) for process in left)
            raise ServiceTrouble(f"the service left processes behind, now ended: {names}")

    def _wait_ready(self, process: "subprocess.Popen[bytes]") -> None:
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise ServiceTrouble(f"the service ended with {process.returncode} while starting")
            if self.answers():
                return
            time.sleep(0.2)
        raise ServiceTrouble(f"the service was not ready within {READY_SECONDS:.0f} s")

    def _left(self) -> list[psutil.Process]:
        return [process for process in psutil.process_iter() if process.pid != os.getpid() and self._owns(process)]

    def _owns(self, process: psutil.Process) -> bool:
        """Whether a process is one of the service's: our Python, begun after it, in the data folder or naming it."""
        try:
            ours = process.exe() == os.path.realpath(sys.executable) and process.create_time() >= self.started - 1
            inside = Path(process.cwd()).is_relative_to(self.data) or str(self.data) in process.cmdline()
            return ours and inside and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False
