"""Two hosts on one machine: a network namespace and a data folder each, one database file and one store for both."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil

ADDRESSES = {"a": "10.231.7.1", "b": "10.231.7.2"}
SETTINGS = {
    "DETCO_CONTROL_POLL_SECONDS": "0.5",
    "DETCO_HEARTBEAT_SECONDS": "2",
    "DETCO_LEASE_SECONDS": "15",
    "DETCO_GRACE_SECONDS": "60",
    "DETCO_SELF_POLL_SECONDS": "2",
    "OMP_NUM_THREADS": "1",
}


@contextmanager
def networks() -> Iterator[dict[str, list[str]]]:
    """How to start a command on each host; two namespaces joined by a cable. Needs root."""
    names = {host: f"detco-{os.getpid()}-{host}" for host in ADDRESSES}
    cable = {host: f"dtc{os.getpid() % 10**7}{host}" for host in ADDRESSES}
    try:
        for name in names.values():
            _ip("netns", "add", name)
        _ip("link", "add", cable["a"], "type", "veth", "peer", "name", cable["b"])
        for host, name in names.items():
            _ip("link", "set", cable[host], "netns", name)
            _ip("-n", name, "addr", "add", f"{ADDRESSES[host]}/24", "dev", cable[host])
            _ip("-n", name, "link", "set", cable[host], "up")
            _ip("-n", name, "link", "set", "lo", "up")
        yield {host: ["ip", "netns", "exec", name] for host, name in names.items()}
    finally:
        for name in names.values():
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


class Host:
    """A worker of one host, to be started, killed and started again."""

    def __init__(self, name: str, entry: list[str], shared: Path, slots: int) -> None:
        self.name = name
        self.folder = shared.parent / f"host-{name}"
        self.folder.mkdir(parents=True, exist_ok=True)
        self._command = [*entry, sys.executable, "-m", "worker", "--data-dir", str(self.folder)]
        self._environment = environment(shared) | {
            "DETCO_HOST_NAME": name,
            "DETCO_NODE_ADDRESS": ADDRESSES[name],
            "DETCO_TRAIN_SLOTS": str(slots),
        }
        self._main: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        return self.folder / "worker.log"

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._main = subprocess.Popen(self._command, env=self._environment, stdout=log, stderr=log)

    def power_off(self) -> None:
        """SIGKILL to everything the host runs, at once."""
        processes = self._processes()
        for process in processes:
            process.kill()
        psutil.wait_procs(processes, 10)
        if self._main is not None:
            self._main.wait()

    def stop(self) -> None:
        """SIGTERM to the worker, and wait until all of it is gone."""
        if self._main is not None and self._main.poll() is None:
            self._main.terminate()
            self._main.wait(60)

    def _processes(self) -> list[psutil.Process]:
        return [process for process in psutil.process_iter() if self._is_ours(process)]

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            return process.environ().get("DETCO_HOST_NAME") == self.name or str(self.folder) in process.cwd()
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            return False


def environment(shared: Path) -> dict[str, str]:
    """What both hosts agree on."""
    ours: Mapping[str, str] = {
        "DETCO_DATABASE_URL": f"sqlite:///{shared / 'detco.sqlite3'}",
        "DETCO_STORE_URL": f"file://{shared / 'store'}",
        "DETCO_DATASET_ROOTS": str(shared),
        **SETTINGS,
    }
    return {**os.environ, **ours}


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)
