"""Questions about processes that may end while they are asked."""

import os
from contextlib import suppress
from pathlib import Path

import psutil


def words_of(process: psutil.Process) -> list[str]:
    """Its command line; nothing once it has ended."""
    with suppress(psutil.Error):
        return process.cmdline()
    return []


def parent_of(process: psutil.Process) -> int | None:
    """The id of its parent; None once it has ended."""
    with suppress(psutil.Error):
        return process.ppid()
    return None


def is_alive(pid: int) -> bool:
    """Whether there is such a process, and no zombie."""
    with suppress(psutil.Error):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


def of_folder(folder: Path) -> list[psutil.Process]:
    """All others that live, and name the folder on their command line or work inside it."""
    return [process for process in psutil.process_iter() if process.pid != os.getpid() and _is_of(process, folder)]


def kill(process: psutil.Process) -> None:
    """SIGKILL, unless it has ended already."""
    with suppress(psutil.NoSuchProcess):
        process.kill()


def _is_of(process: psutil.Process, folder: Path) -> bool:
    with suppress(psutil.Error):
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        named = any(str(folder) in word for word in process.cmdline())
        return named or Path(process.cwd()).is_relative_to(folder.resolve())
    return False
