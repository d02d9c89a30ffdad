"""The service's processes on one machine, with whichever database; each worker may pretend to be another host."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import psutil
from sqlalchemy import Engine

from control.db.migrate import upgrade
from control.db.session import open_engine, unit_of_work
from control.records.access.tokens import create_token
from control.settings import load_settings

LEASE_SECONDS = 10.0
READY_SECONDS = 120.0


class Deployment:
    """A data folder and a migrated database; processes are started on them and end with it."""

    def __init__(self, folder: Path, database_url: str | None = None, database_process: int | None = None) -> None:
        self.folder = folder
        self.database_url = database_url
        url = database_url or load_settings(data_dir=folder).resolved_database_url
        self.engine: Engine = open_engine(url)
        upgrade(self.engine)
        with unit_of_work(self.engine) as session:
            self.token = create_token(session, "benchmark", ["admin"], "benchmark").secret
        self._database_process = database_process
        self._api: psutil.Process | None = None
        self._processes: list[subprocess.Popen[bytes]] = []

    @contextmanager
    def api(self) -> Iterator[httpx.Client]:
        """A client of an API process, which ends with the block."""
        process = self._start("server", "--only", "api", "--data-dir", str(self.folder), "--port", "0")
        self._api = psutil.Process(process.pid)
        try:
            headers = {"Authorization": f"Bearer {self.token}"}
            with httpx.Client(base_url=self._url(process), headers=headers, timeout=120) as client:
                yield client
        finally:
            process.terminate()
            process.wait(60)
            (self.folder / "server.json").unlink(missing_ok=True)

    def cpu_seconds(self) -> float:
        """Processor time of the API process and the database's processes so far."""
        found = [self._api] if self._api is not None else []
        if self._database_process is not None:
            database = psutil.Process(self._database_process)
            found += [database, *database.children(recursive=True)]
        total = 0.0
        for process in found:
            with suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                total += times.user + times.system
        return total

    def worker(self, host: str) -> subprocess.Popen[bytes]:
        """A worker that says it is on another machine."""
        return self._start("worker", host_name=host, dataset_roots=str(self.folder), lease_seconds=str(LEASE_SECONDS))

    def close(self) -> None:
        """End every process that is left."""
        for process in self._processes:
            kill_with_all_below(process)
        self.engine.dispose()

    def _start(self, module: str, *arguments: str, **settings: str) -> "subprocess.Popen[bytes]":
        own = {"data_dir": str(self.folder), "dataset_roots": str(self.folder), "heartbeat_seconds": "2"}
        own |= {"database_url": self.database_url} if self.database_url else {}
        environment = {name: value for name, value in os.environ.items() if not name.startswith("DETCO_")}
        environment |= {f"DETCO_{name.upper()}": value for name, value in (own | settings).items()}
        with (self.folder / f"{module}.log").open("ab") as log:
            command = [sys.executable, "-m", module, *arguments]
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        self._processes.append(process)
        return process

    def _url(self, process: "subprocess.Popen[bytes]") -> str:
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline and process.poll() is None:
            with suppress(OSError, ValueError, httpx.HTTPError):
                url = str(json.loads((self.folder / "server.json").read_text("utf-8"))["url"])
                if httpx.get(f"{url}/livez", timeout=10).status_code == 200:
                    return url
            time.sleep(0.1)
        raise RuntimeError(f"the API did not start:\n{(self.folder / 'server.log').read_text('utf-8', 'replace')}")


def kill_with_all_below(process: "subprocess.Popen[bytes]") -> None:
    """SIGKILL at once, as a machine that loses its power does it."""
    with suppress(psutil.NoSuchProcess):
        tree = psutil.Process(process.pid)
        for one in [tree, *tree.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                one.send_signal(signal.SIGKILL)
    process.wait()
