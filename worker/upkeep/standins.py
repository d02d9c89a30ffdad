"""Processes that take work when the broker is silent: each does what a pool process does on a wake-up, without one."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from control.records.runs.kinds import Queue
from control.records.scheduling.workers import WorkerIdentity
from worker.launch import package_environment
from worker.processes import Leash, start

STAND_IN = (sys.executable, "-m", "worker.tasks")


class StandIns:
    """Those of one worker; each ends by itself when nothing is left to claim."""

    def __init__(self, folder: Path, command: Sequence[str] = STAND_IN) -> None:
        self._folder = folder
        self._command = command
        self._running: list[tuple[subprocess.Popen[bytes], Leash]] = []

    def start(self, queue: Queue, identity: WorkerIdentity) -> None:
        """Begin one that takes work of `queue` in the worker's name."""
        leash = Leash()
        command = [*self._command, queue, identity.id, identity.host, str(leash.fd)]
        process = start(command, folder=self._folder, environment=package_environment(), leash=leash)
        self._running.append((process, leash))

    def tend(self) -> int:
        """Take the exits of those that have ended; returns how many are still there."""
        ended = [(process, leash) for process, leash in self._running if process.poll() is not None]
        for process, leash in ended:
            leash.let_go()
            self._running.remove((process, leash))
        return len(self._running)

    def let_go(self) -> None:
        """Ask all of them to see their runs off and leave; may be called again."""
        for _, leash in self._running:
            leash.let_go()
