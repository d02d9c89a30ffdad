"""The folder of an attempt on this host: where it lies, whether somebody works in it, and when it goes.

`WORK/RUN/attempt-FENCE/` (`attempt-FENCE-node-N/` where another host leads) is locked (flock) from its making until the
attempt's runner ends: the kernel takes the lock back then, however the runner ended, so whoever can see the folder can
tell, also from another container.
Once its attempt is closed and everything it named is in the store, the folder goes at once. What a dead runner left is
trimmed to what a person may want to read (`KEPT`), and goes after `KEEP_SECONDS`.
"""

import fcntl
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from detco_core.contract.jobs import EVENTS_FILE
from worker.launch import JOB_FILE, LOG_FILE
from worker.processes import Mark

LOCK_FILE = "lock"
KEPT = frozenset({JOB_FILE, EVENTS_FILE, LOG_FILE, LOCK_FILE})
KEEP_SECONDS = 24 * 3600.0

_NAME = re.compile(r"attempt-(\d+)(?:-node-(\d+))?")


def attempt_folder(work_dir: Path, mark: Mark) -> Path:
    return work_dir / mark.run / mark.name


def open_folder(work_dir: Path, mark: Mark) -> Path:
    """The attempt's folder, made if it is not there; other users of the machine cannot look into it."""
    folder = attempt_folder(work_dir, mark)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def occupy(folder: Path, patience: float = 2.0) -> int:
    """Lock the folder; the lock lives as long as any process has the returned descriptor open.

    `is_occupied` takes the lock for a moment, hence some patience, in seconds.

    Raises:
        BlockingIOError: another process works in it.
    """
    deadline = time.monotonic() + patience
    while True:
        try:
            return _lock(folder)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def is_occupied(folder: Path) -> bool:
    """Whether somebody works in the folder."""
    try:
        os.close(_lock(folder))
    except BlockingIOError:
        return True
    return False


def all_folders(work_dir: Path) -> Iterator[tuple[Mark, Path]]:
    """Every attempt folder of this host."""
    for folder in work_dir.glob("*/attempt-*"):
        if (match := _NAME.fullmatch(folder.name)) and folder.is_dir():
            yield Mark(folder.parent.name, int(match[1]), int(match[2] or 0)), folder


def trim(folder: Path) -> None:
    """Leave only what a person may want to read."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        elif path.name not in KEPT:
            path.unlink(missing_ok=True)


def discard(folder: Path) -> None:
    """Remove the folder, and that of its run when it was the last."""
    shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):
        folder.parent.rmdir()


def is_old(folder: Path) -> bool:
    """Whether nothing in the folder was touched for `KEEP_SECONDS`."""
    newest = max((path.stat().st_mtime for path in (folder, *folder.iterdir())), default=0.0)
    return time.time() - newest > KEEP_SECONDS


def _lock(folder: Path) -> int:
    descriptor = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
