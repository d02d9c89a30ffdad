"""The embedded service as a user starts it: real processes, real sockets, a data folder of its own."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.processes import kill, of_folder, words_of

READY_SECONDS = 240
"""Far more than the 60 s that are promised, which a test of the server holds it to (tests/unit/server/test_main.py)."""
STOP_SECONDS = 30


class Service:
    """`python -m server` on a free port, and the questions tests ask of it."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder = folder
        self.settings = settings
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> "Service":
        environment = {k: v for k, v in os.environ.items() if not k.startswith("DETCO_")}
        environment |= {f"DETCO_{name.upper()}": value for name, value in self.settings.items()}
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "server.json").unlink(missing_ok=True)
        command = [sys.executable, "-m", "server", "--data-dir", str(self.folder), "--port", "0"]
        with (self.folder.parent / f"{self.folder.name}.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        self._wait_ready()
        return self

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            assert self.process is not None
            assert self.process.poll() is None, f"the server left with {self.process.returncode}:\n{self.log()}"
            try:
                if httpx.get(f"{self.url}/readyz", timeout=30).status_code == 200:
                    return
            except (OSError, ValueError, httpx.HTTPError):
                pass
            time.sleep(0.2)
        pytest.fail(f"/readyz was not 200 within {READY_SECONDS} s:\n{self.log()}")

    def log(self) -> str:
        return (self.folder.parent / f"{self.folder.name}.log").read_text("utf-8", "replace")[-4000:]

    @property
    def url(self) -> str:
        return str(json.loads((self.folder / "server.json").read_text("utf-8"))["url"])

    @property
    def token(self) -> str:
        return (self.folder / "token").read_text("utf-8").strip()

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.token}", **options.pop("headers", {})}
        return httpx.request(method, self.url + path, headers=headers, timeout=60, **options)

    def get(self, path: str, **options: Any) -> Any:
        answer = self.request("GET", path, **options)
        assert answer.status_code == 200, f"GET {path}: {answer.status_code} {answer.text}"
        return answer.json()

    def post(self, path: str, body: Any, expect: int = 202) -> Any:
        answer = self.request("POST", path, json=body)
        assert answer.status_code == expect, f"POST {path}: {answer.status_code} {answer.text}"
        return answer.json()

    def wait(self, path: str, until: Callable[[Any], bool], seconds: float) -> Any:
        """Ask until the answer pleases; fails with the last answer and the service's log."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            answer = self.get(path)
            if until(answer):
                return answer
            time.sleep(0.25)
        pytest.fail(f"{path} did not get there in {seconds} s; last: {json.dumps(answer)[:3000]}\n{self.log()}")

    def finished(self, path: str, seconds: float = 420, state: str = "completed") -> Any:
        """Wait for a job to end, and insist on how."""
        ends = {"completed", "failed", "cancelled", "paused", "ready"}
        answer = self.wait(path, lambda job: job["state"] in ends, seconds)
        assert answer["state"] == state, f"{answer['state']}: {answer.get('reason')}\n{self.log()}"
        return answer

    def add_dataset(self, name: str, folder: Path, kind: str = "images") -> Any:
        self.post("/v1/datasets", {"name": name, "kind": kind, "uri": str(folder)})
        return self.wait(f"/v1/datasets/{name}", lambda d: d["state"] != "scanning", 180)

    def processes(self) -> list[psutil.Process]:
        """Every process that names the data folder on its command line or works inside it."""
        return of_folder(self.folder)

    def stop(self, sign: signal.Signals = signal.SIGTERM) -> int:
        """Signal the one process a person started; insist that all of it is gone in time."""
        assert self.process is not None
        self.process.send_signal(sign)
        code = self.process.wait(STOP_SECONDS)
        left = [(process.pid, words_of(process)) for process in self.processes()]
        assert not left, f"processes left behind: {left}\n{self.log()}"
        return code

    def close(self) -> None:
        """Last resort at the end of a test: leave nothing behind, whatever happened."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for process in self.processes():
            kill(process)
