"""A supervisor: what it keeps is started again whenever it dies."""

import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from worker.processes import dying_with_parent

_RESTART_SECONDS = 0.5


class Kept(threading.Thread):
    """A process that is started again whenever it dies, until `stop`; it goes with this one, however that ends."""

    farewell = signal.SIGTERM
    """Asks it to leave."""

    def __init__(self, name: str, command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> None:
        super().__init__(name=name, daemon=True)
        self._command = dying_with_parent(command)
        self._log = folder / f"{name}.log"
        self._where: dict[str, Any] = {"cwd": folder, "env": dict(environment)}
        self._ending = threading.Event()
        self.process: subprocess.Popen[bytes] | None = None

    def run(self) -> None:
        while not self._ending.is_set():
            with self._log.open("ab") as log:
                self.process = subprocess.Popen(self._command, stdout=log, stderr=log, **self._where)
            self.process.wait()
            self._ending.wait(_RESTART_SECONDS)

    def stop(self, patience: float = 30.0) -> bool:
        """Ask it to leave; whether it did within `patience` seconds."""
        self._ending.set()
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(self.farewell)
        self.join(patience)
        left_in_time = not self.is_alive()
        if not left_in_time and self.process is not None:
            self.process.kill()
            self.join()
        return left_in_time


class KeptAs(Kept):
    """One that runs as somebody else, who may not start what would tie it to this process: PostgreSQL."""

    farewell = signal.SIGINT
    """Its fast shutdown: others may still be connected."""

    def __init__(self, name: str, command: Sequence[str], folder: Path, home: Path, owner: Mapping[str, Any]) -> None:
        super().__init__(name, command, folder, {})
        self._command = [*command]
        self._where = {"cwd": home, **owner}
