"""Keeps one worker beside the service: starts it, starts it again with back-off when it dies, and ends it with itself.

The worker is known only as a command. It is started through `server.tether`, so that it also goes when this process is
killed without a chance to say goodbye.
"""

import json
import logging
import os
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from control.settings import Settings

log = logging.getLogger(__name__)

WORKER = (sys.executable, "-P", "-m", "worker")

FIRST_DELAY = 0.5
LONGEST_DELAY = 30.0
SETTLED = 60.0
"""A worker that lived this many seconds was well: the next back-off starts from the first delay again."""
GUARD_SECONDS = 3.0
"""Beyond `shutdown_seconds`: the worker kills what is left by itself, and better, since it knows its processes."""


class Supervisor:
    """One child process of `command`, restarted until `stop`.

    `folder` is its working folder. Once asked to end it has `patience` seconds, then it is killed.
    """

    def __init__(self, command: Sequence[str], folder: Path, environment: Mapping[str, str], patience: float) -> None:
        self._command = tuple(command)
        self._folder = folder
        self._environment = dict(environment)
        self._patience = patience
        self._asked_at: float | None = None
        self._stopping = threading.Event()
        # Reentrant: a signal handler may ask while this very thread asks already.
        self._lock = threading.RLock()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._keep, name="supervisor", daemon=True)

    def start(self) -> None:
        """Start the child and the thread that watches it."""
        self._thread.start()

    def ask(self) -> None:
        """Ask the child to end (SIGTERM) and start no other; returns at once."""
        with self._lock:
            self._stopping.set()
            self._asked_at = self._asked_at or time.monotonic()
            if self._process is not None and self._process.poll() is None:
                self._process.terminate()

    def stop(self) -> None:
        """Ask, unless that was done; wait for what is left of the patience, then kill."""
        self.ask()
        if not self._thread.is_alive():
            return
        asked_at = self._asked_at or time.monotonic()
        self._thread.join(max(0.0, asked_at + self._patience - time.monotonic()))
        if self._thread.is_alive() and self._process is not None:
            log.warning("the worker did not end within %.0f s and is killed", self._patience)
            self._process.kill()
            self._thread.join()

    def _keep(self) -> None:
        delay = FIRST_DELAY
        while (process := self._spawn()) is not None:
            began = time.monotonic()
            code = process.wait()
            if self._stopping.is_set():
                return
            delay = FIRST_DELAY if time.monotonic() - began > SETTLED else delay
            log.warning("the worker ended with status %d; another starts in %.1f s", code, delay)
            self._stopping.wait(delay)
            delay = min(2 * delay, LONGEST_DELAY)

    def _spawn(self) -> "subprocess.Popen[bytes] | None":
        with self._lock:
            if self._stopping.is_set():
                return None
            tethered = [sys.executable, "-P", "-m", "server.tether", str(os.getpid()), *self._command]
            # A session of its own: Ctrl-C at the terminal reaches this process alone, which then asks the worker.
            self._process = subprocess.Popen(
                tethered, cwd=self._folder, env=self._environment, stdin=subprocess.DEVNULL, start_new_session=True
            )
            return self._process


def worker_supervisor(settings: Settings, worker: Sequence[str] = WORKER) -> Supervisor:
    """A supervisor of `python -m worker` on this data folder, in this process's environment."""
    command = (*worker, "--data-dir", str(settings.data_dir))
    patience = settings.shutdown_seconds + GUARD_SECONDS
    return Supervisor(command, settings.data_dir, worker_environment(settings, os.environ), patience)


def worker_environment(settings: Settings, ours: Mapping[str, str]) -> dict[str, str]:
    """Our environment as it means the same in another working folder; call it before changing ours."""
    files = {
        name: str(Path(value).absolute())
        for name, value in ours.items()
        if name.startswith("DETCO_") and name.endswith("_FILE")
    }
    roots = {"DETCO_DATASET_ROOTS": json.dumps(settings.dataset_roots)} if settings.dataset_roots else {}
    return {**ours, **files, **roots, "PYTHONPATH": _python_path(ours.get("PYTHONPATH", ""))}


def _python_path(before: str) -> str:
    """PYTHONPATH that lets a child in another folder import what this process imports, installed or not."""
    home = str(Path(__file__).parents[1])
    parts = [str(Path(part).absolute()) for part in before.split(os.pathsep) if part]
    installed = home in (sysconfig.get_path("purelib"), sysconfig.get_path("platlib"))
    return os.pathsep.join(parts if installed or home in parts else [home, *parts])
