"""The data folder as the server's home: entered, kept for one embedded service, and telling local tools the address."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from control.errors import SettingsError

LOCK_FILE = "server.lock"
ADDRESS_FILE = "server.json"
"""`{"url", "pid"}` of the service that runs here, for tools on this machine."""


def enter(folder: Path) -> None:
    """Make the folder, for its owner only, and work inside it, so that `ps` and `lsof` tell whose process this is."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.chdir(folder)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Be the one embedded service of this folder; the kernel gives the lock back however this process ends.

    Raises:
        SettingsError: naming the service that runs here already.
    """
    with (folder / LOCK_FILE).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise SettingsError(
                f"a service runs on {folder} already{_where(folder)}: stop it, or use another"
            ) from error
        yield


@contextmanager
def announced(folder: Path, url: str, pid: int) -> Iterator[None]:
    """Leave the service's address in the folder for as long as the block runs."""
    path = folder / ADDRESS_FILE
    temporary = folder / f".{ADDRESS_FILE}.{pid}"
    temporary.write_text(json.dumps({"url": url, "pid": pid}) + "\n", "utf-8")
    temporary.replace(path)
    try:
        yield
    finally:
        if _announced(path).get("pid") == pid:
            path.unlink(missing_ok=True)


def _where(folder: Path) -> str:
    found = _announced(folder / ADDRESS_FILE)
    return f" (pid {found['pid']}, {found['url']})" if {"pid", "url"} <= found.keys() else ""


def _announced(path: Path) -> dict[str, object]:
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
