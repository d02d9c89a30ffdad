"""The one place for signals and process trees: leashes, sub-reapers, and sweeps that leave nothing behind.

A process group is not enough to end a job: torch elastic starts each rank in a session of its own, and a killed parent
leaves its loaders to init. So whoever starts a process here

- holds a *leash* to it, a pipe whose write end nobody else has: when the holder ends, however it ends, the pipe closes;
- is a *sub-reaper*, so that orphans below it become its own children and can be found;
- *marks* it in its environment, so that it can be found even when all of its ancestors are dead.

Linux only (`prctl(2)`).
"""

import ctypes
import logging
import os
import resource
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import psutil

RUN_MARK = "DETCO_RUN"
FENCE_MARK = "DETCO_FENCE"
NODE_MARK = "DETCO_NODE"
WORKER_MARK = "DETCO_WORKER"

_PR_SET_CHILD_SUBREAPER = 36

_log = logging.getLogger(__name__)

# Run by a fresh interpreter that then becomes the command: setting it between fork and exec (preexec_fn) is not safe in
# a process that has threads. 1 is PR_SET_PDEATHSIG; a parent that died before the call is seen by its changed id.
_DIE_WITH_PARENT = (
    "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 9); "
    "os.getppid() == int(sys.argv[1]) or os._exit(70); os.execvp(sys.argv[2], sys.argv[2:])"
)


class Mark(NamedTuple):
    """Whose process it is: in the environment of a runner and of everything it starts."""

    run: str
    fence: int
    node: int = 0
    """Which of the hosts that work on the run; two of them may share a machine."""

    @property
    def name(self) -> str:
        """Of the attempt on this host, in a log and as a folder."""
        return f"attempt-{self.fence}" + (f"-node-{self.node}" if self.node else "")

    def environment(self) -> dict[str, str]:
        return {RUN_MARK: self.run, FENCE_MARK: str(self.fence), NODE_MARK: str(self.node)}


class Leash:
    """The holder's side of a pipe that closes when the holder ends or lets go.

    Pass `fd` to the process on the leash (`pass_fds`), then call `started`; that process asks `is_let_go(fd)`.
    """

    def __init__(self) -> None:
        self.fd, self._held = os.pipe()

    def started(self) -> None:
        """Close this side's copy of the read end."""
        os.close(self.fd)

    def let_go(self) -> None:
        """Tell the process on the leash that its holder is done with it; may be called again."""
        if self._held >= 0:
            os.close(self._held)
            self._held = -1


def is_let_go(fd: int, timeout: float = 0.0) -> bool:
    """Whether the holder of the leash has ended or let go; waits up to `timeout` seconds for it."""
    readable, _, _ = select.select([fd], [], [], timeout)
    return bool(readable) and os.read(fd, 1) == b""


def become_subreaper() -> None:
    """Make orphaned descendants children of this process instead of init's; raises `OSError`."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"cannot become a sub-reaper: {os.strerror(number)}")


def require_parent(pid: int) -> None:
    """Leave at once, with no clean-up, unless `pid` is this process's parent: it has ended already."""
    if os.getppid() != pid:
        os._exit(os.EX_TEMPFAIL)


def dying_with_parent(command: Sequence[str]) -> list[str]:
    """The command, killed by the kernel as soon as the *thread* that starts it ends."""
    return [sys.executable, "-I", "-S", "-c", _DIE_WITH_PARENT, str(os.getpid()), *command]


def start(
    command: Sequence[str],
    *,
    folder: Path,
    environment: Mapping[str, str],
    leash: Leash,
    output: int | None = None,
    keep: Sequence[int] = (),
) -> "subprocess.Popen[bytes]":
    """Start a command on a leash, in a session of its own.

    `output` takes both its stdout and its stderr; the descriptors in `keep` stay open in it.
    """
    process = subprocess.Popen(
        list(command),
        cwd=folder,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        pass_fds=(leash.fd, *keep),
        start_new_session=True,
    )
    leash.started()
    return process


def descendants(pid: int | None = None) -> list[psutil.Process]:
    """All living processes below `pid` (this process when None), zombies left out."""
    with suppress(psutil.NoSuchProcess):
        return [process for process in psutil.Process(pid).children(recursive=True) if _alive(process)]
    return []


def marked(mark: Mark) -> list[psutil.Process]:
    """All living processes that carry the mark, whoever their parent is."""
    wanted = mark.environment()
    return [process for process, found in _environments() if wanted.items() <= found.items()]


def of_worker(worker: str) -> list[psutil.Process]:
    """All living processes that carry the mark of one start of a worker, whoever their parent is."""
    return [process for process, found in _environments() if found.get(WORKER_MARK) == worker]


def ask_to_leave(process: subprocess.Popen[bytes], *, launcher: bool = False) -> None:
    """SIGTERM: save and leave. A launcher's own processes are asked, since torchrun would give them 30 s only."""
    children = [child for child in descendants(process.pid) if child.ppid() == process.pid] if launcher else []
    if children:
        signal_all(children, signal.SIGTERM)
    elif process.poll() is None:
        process.terminate()


def end(process: subprocess.Popen[bytes], timeout: float = 10.0) -> bool:
    """SIGKILL, and take the exit; False when the kernel cannot end it within `timeout` seconds."""
    process.kill()
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout)
    return process.returncode is not None


def signal_all(processes: Sequence[psutil.Process], number: signal.Signals) -> None:
    """Send a signal to each; those already gone are no error."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def sweep(find: Callable[[], Sequence[psutil.Process]] = descendants, timeout: float = 10.0) -> list[psutil.Process]:
    """Kill what `find` finds until it finds nothing; returns the survivors after `timeout` seconds.

    Looks again after each round, because a process may have forked, and orphans may have come to this sub-reaper, in
    between. Only a process that the kernel cannot interrupt survives.
    """
    deadline = time.monotonic() + timeout
    while found := find():
        if time.monotonic() > deadline:
            return list(found)
        signal_all(found, signal.SIGKILL)
        psutil.wait_procs(found, timeout=0.2)
    return []


def clean_up(run: str) -> None:
    """Leave no descendant of this process, wherever in the tree it is."""
    for survivor in sweep(descendants):
        _log.error("%s: process %d cannot be ended", run, survivor.pid)
    reap_orphans()


def reap_orphans() -> None:
    """Collect the exit of every child that has ended.

    For a sub-reaper after its own children's exits were taken: `subprocess` would otherwise find them gone.
    """
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0] != 0:
            pass


def cpu_seconds_of_children() -> float:
    """CPU time of every process below this one whose exit was collected: here, or by one whose exit was."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _environments() -> Iterator[tuple[psutil.Process, dict[str, str]]]:
    own = os.getpid()
    for process in psutil.process_iter():
        if process.pid != own and _alive(process):
            # AccessDenied: another user's process, which is none of ours.
            with suppress(psutil.NoSuchProcess, psutil.AccessDenied, OSError):
                yield process, process.environ()


def _alive(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return process.status() != psutil.STATUS_ZOMBIE
    return False
