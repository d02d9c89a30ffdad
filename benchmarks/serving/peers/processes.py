"""LitServe and BentoML, each as a process in an environment made from the requirements beside this file."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import psutil

from benchmarks.environments import NoEnvironment, environment
from benchmarks.machine import ROOT
from benchmarks.serving.target import Target

PEERS = ("litserve", "bentoml")
KEPT = ROOT / "build" / "serving" / "environments"
READY_SECONDS = 180.0
_HERE = Path(__file__).parent
_HEALTH = {"litserve": "/health", "bentoml": "/readyz"}


class PeerFailed(RuntimeError):
    """It does not start."""


@contextmanager
def peer(name: str, model: Path, side: int, folder: Path) -> Iterator[Target]:
    """The peer `name`, serving `model` at `side` pixels as `POST /features`; ends with the block."""
    try:
        home = environment(KEPT / name, _HERE / f"{name}.txt")
    except NoEnvironment as error:
        raise PeerFailed(str(error)) from error
    port = _free_port()
    settings = {"BENCHMARK_MODEL": str(model), "BENCHMARK_SIDE": str(side), "BENTOML_HOME": str(folder / name)}
    settings |= {"BENTOML_DO_NOT_TRACK": "true", "PYTHONPATH": str(ROOT)}
    address = ("--host", "127.0.0.1", "--port", str(port))
    command = {
        "litserve": [str(home / "bin/python"), "-m", f"{__package__}.litserve_app", str(model), str(side), str(port)],
        "bentoml": [str(home / "bin/bentoml"), "serve", f"{__package__}.bentoml_app:Features", *address],
    }[name]
    log = folder / f"{name}.log"
    with log.open("ab") as file:
        process = subprocess.Popen(command, env=os.environ | settings, stdout=file, stderr=file, cwd=folder)
    try:
        _wait_ready(process, f"http://127.0.0.1:{port}{_HEALTH[name]}", log)
        yield Target(name=name, host="127.0.0.1", port=port, path="/features", pid=process.pid, form="multipart")
    finally:
        _end(process)


def _wait_ready(process: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(httpx.HTTPError):
            if httpx.get(url, timeout=10).status_code == 200:
                return
        time.sleep(0.2)
    raise PeerFailed(f"it did not become ready:\n{log.read_text('utf-8', 'replace')[-2000:]}")


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End it and what it started."""
    with suppress(psutil.NoSuchProcess):
        tree = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(10)
        for left in tree:
            with suppress(psutil.NoSuchProcess):
                left.kill()
    process.kill()
    process.wait()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def versions(names: Sequence[str]) -> str:
    """What the requirements name, in words."""
    lines = [line for name in names for line in (_HERE / f"{name}.txt").read_text("utf-8").splitlines()]
    found = (next(line for line in lines if line.startswith(f"{name}==")) for name in names)
    return ", ".join(line.replace("==", " ") for line in found) or "no peers"
