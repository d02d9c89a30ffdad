"""Ends this process the moment the runner that started it is gone, so that no training is left without an owner.

The runner keeps the write end of a pipe and names the read end in `DETCO_PARENT_FD`; the kernel closes the pipe when
the runner dies, however it dies.
"""

import os
import stat
import threading
from pathlib import Path

ENVIRONMENT = "DETCO_PARENT_FD"
LAUNCHED = "TORCHELASTIC_RUN_ID"
"""Set by torchrun in every process it starts."""
EXIT_ORPHANED = 70


def watch_parent() -> None:
    """Start the watch if the runner asked for one; without it this does nothing."""
    number = os.environ.get(ENVIRONMENT, "")
    if not number.isdecimal():
        return
    pipe = _open_pipe(int(number))
    if pipe is not None:
        threading.Thread(target=_wait, args=(pipe,), name="parent-watch", daemon=True).start()
    elif LAUNCHED in os.environ and not _may_have(os.getppid(), int(number)):
        # A launcher has it: ours was killed before we came here, and nobody would ever end this process.
        os._exit(EXIT_ORPHANED)


def _open_pipe(number: int) -> int | None:
    """The pipe's read end: ours, or under torchrun (which hands no descriptors on) that of the parent process."""
    if _is_pipe(number):
        return number
    inherited = Path(f"/proc/{os.getppid()}/fd/{number}")
    try:
        if stat.S_ISFIFO(inherited.stat().st_mode):
            return os.open(inherited, os.O_RDONLY)
    except OSError:
        return None
    return None


def _may_have(pid: int, number: int) -> bool:
    """Whether a process has this descriptor, or is one of our user's that does not let us look."""
    try:
        Path(f"/proc/{pid}/fd/{number}").stat()
    except PermissionError:
        return Path(f"/proc/{pid}").stat().st_uid == os.getuid()
    except OSError:
        return False
    return True


def _is_pipe(number: int) -> bool:
    try:
        return stat.S_ISFIFO(os.fstat(number).st_mode)
    except OSError:
        return False


def _wait(pipe: int) -> None:
    while os.read(pipe, 64):
        pass
    os._exit(EXIT_ORPHANED)
