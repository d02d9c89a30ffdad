"""Every second one process of the deployment is killed with SIGKILL; now and then an attempt is frozen instead.

A database or an API that has not answered yet and a worker that does not work yet are spared: starting takes them
longer than the time between two blows, so they would never do anything that is worth disturbing.

A kill alone never makes a stale writer, since what is dead writes nothing. A frozen attempt does: all of its processes
are stopped (SIGSTOP) until its lease and the grace are over and another has the run, and then go on.
"""

import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException

import psutil
from sqlalchemy import select

from benchmarks.chaos.deployment import BACKEND, POSTGRESQL, SETTINGS, Deployment
from benchmarks.chaos.mercy import Mercy
from control.db.models import Worker
from control.db.session import database_time, read_only
from worker.outages import DATABASE_AWAY

FROZEN = "frozen attempt"
_FROZEN_SECONDS = SETTINGS["lease_seconds"] + SETTINGS["grace_seconds"] + 6.0
_BEATEN = 1.5
"""Seconds between the first and the last heartbeat of a worker that works: the first comes before its pool."""
_WORDS = {
    "runner": "benchmarks.chaos.doors runner",
    "stand-in": "benchmarks.chaos.doors stand_in",
    "launcher": "benchmarks.chaos.launcher",
    "worker": "benchmarks.chaos.doors worker",
    "real job": "detco_core pretrain",
    "job": "benchmarks.chaos.child",
}


class Killer(threading.Thread):
    """Works until `stop`; a kind of process is drawn first, then one of that kind, if there is any."""

    def __init__(
        self,
        deployment: Deployment,
        interval: float,
        freeze_share: float,
        seed: int,
        spared: Collection[str] = (),
        submitted: Mapping[str, str | None] | None = None,
    ) -> None:
        super().__init__(name="killer", daemon=True)
        self._victims = [kind for kind in deployment.victims if kind not in spared]
        self._deployment = deployment
        self._mercy = Mercy(deployment, submitted or {})
        self._interval = interval
        self._freeze_share = freeze_share
        self._chance = random.Random(seed)
        self._ended = threading.Event()
        self._frozen: list[psutil.Process] = []
        self._thaw_at = 0.0
        self.kills: Counter[str] = Counter()
        self.misses = 0
        """Blows that hit nobody: no process of the kind was there, or it was starting, or a true run was spared."""
        self.frozen: set[tuple[str, int]] = set()
        """Attempts (run, fence) that were frozen."""
        self.longest_pause = 0.0
        """Between two blows, in seconds."""

    def run(self) -> None:
        due = last = time.monotonic()
        while not self._ended.wait(max(0.0, due - time.monotonic())):
            due += self._interval
            self.strike()
            self.longest_pause = max(self.longest_pause, time.monotonic() - last)
            last = time.monotonic()
        self._thaw()

    def stop(self) -> None:
        """Kill no more, and let go of what is frozen."""
        self._ended.set()
        self.join()

    def strike(self) -> None:
        if self._frozen and time.monotonic() > self._thaw_at:
            self._thaw()
        found = sort(self._deployment.processes(), self._deployment)
        if not self._frozen and found.get("runner") and self._chance.random() < self._freeze_share:
            self._freeze(self._chance.choice(found["runner"]))
            return
        kind = self._chance.choice(self._victims)
        victim = self._chance.choice(found[kind]) if kind in found else None
        if victim is None or self._is_starting(kind, victim) or self._mercy.spares(victim):
            self.misses += 1
            return
        with suppress(psutil.NoSuchProcess):
            victim.kill()
            self.kills[kind] += 1

    def _is_starting(self, kind: str, process: psutil.Process) -> bool:
        if kind == "api":
            return not _answers(self._deployment.port)
        if kind not in ("worker", "pool process", POSTGRESQL, BACKEND):
            return False
        with suppress(psutil.NoSuchProcess, *DATABASE_AWAY), read_only(self._deployment.engine) as session:
            if kind in (POSTGRESQL, BACKEND):
                database_time(session)
                return False
            main = process.pid if kind == "worker" else process.ppid()
            row = session.scalars(select(Worker).where(Worker.pid == main).order_by(Worker.id.desc())).first()
            return row is None or (row.seen_at - row.created_at).total_seconds() < _BEATEN
        return True

    def _freeze(self, runner: psutil.Process) -> None:
        if self._mercy.spares(runner):
            self.misses += 1
            return
        with suppress(psutil.NoSuchProcess):
            words = runner.cmdline()
            run, fence = words[words.index("runner") + 1 :][:2]
            self.frozen.add((run, int(fence)))
            self._frozen = [runner, *runner.children(recursive=True)]
            self._signal(signal.SIGSTOP)
            self._thaw_at = time.monotonic() + _FROZEN_SECONDS
            self.kills[FROZEN] += 1

    def _thaw(self) -> None:
        self._signal(signal.SIGCONT)
        self._frozen = []

    def _signal(self, number: signal.Signals) -> None:
        for process in self._frozen:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)


def _answers(port: int) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=0.5)
    try:
        connection.request("GET", "/livez")
        return connection.getresponse().status == HTTPStatus.OK
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def sort(processes: Iterable[psutil.Process], deployment: Deployment) -> dict[str, list[psutil.Process]]:
    """Processes by what they are."""
    kept = {pid: kind for kind in ("api", "redis", POSTGRESQL) for pid in deployment.kept(kind)}
    found: dict[str, list[psutil.Process]] = {}
    for process in processes:
        with suppress(psutil.Error):
            is_backend = kept.get(process.ppid()) == POSTGRESQL
            kind = kept.get(process.pid) or (BACKEND if is_backend else _kind(process))
            if kind is not None:
                found.setdefault(kind, []).append(process)
    return found


def _kind(process: psutil.Process) -> str | None:
    line = " ".join(process.cmdline())
    kind = next((kind for kind, words in _WORDS.items() if words in line), None)
    if kind == "worker":
        parent = process.parent()
        is_pool = parent is not None and _WORDS["worker"] in " ".join(parent.cmdline())
        return "pool process" if is_pool else kind
    return "job" if kind == "real job" else kind
