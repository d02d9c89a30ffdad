"""How a job's process is started: its command, its environment, its log."""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import worker
from worker.processes import WORKER_MARK, Leash, Mark, dying_with_parent, start

JOB_FILE = "job.json"
LOG_FILE = "log.txt"
LOG_TAIL_LINES = 60
_LOG_TAIL_BYTES = 16 * 1024


class Post(NamedTuple):
    """Which of several hosts this one is, and where the processes of all of them meet."""

    node: int
    nodes: int
    endpoint: str
    """`ADDRESS:PORT`; node 0 listens there."""
    name: str
    """Of the attempt, the same on all hosts."""


Command = Callable[[str, int, Post | None], list[str]]
"""Makes the command of a job from its verb, its number of processes here, and its post."""


def job_command(verb: str, processes: int = 1, post: Post | None = None) -> list[str]:
    """`python -m detco_core VERB job.json`, under torchrun when the job takes several processes."""
    if processes == 1 and post is None:
        return [sys.executable, "-m", "detco_core", verb, JOB_FILE]
    launcher = [sys.executable, "-m", "torch.distributed.run", *_where(post), f"--nproc-per-node={processes}"]
    return [*launcher, "-m", "detco_core", verb, JOB_FILE]


def _where(post: Post | None) -> list[str]:
    if post is None:
        return ["--standalone"]
    # Static: the one rendezvous over c10d's store that takes our word for who is node 0 (docs/decisions/130).
    return [
        "--rdzv-backend=static",
        f"--rdzv-endpoint={post.endpoint}",
        f"--rdzv-id={post.name}",
        f"--nnodes={post.nodes}",
        f"--node-rank={post.node}",
    ]


def package_environment() -> dict[str, str]:
    """Our own environment, and in it where this package was imported from."""
    root = Path(worker.__file__).parents[1]
    if root.name == "site-packages":
        return dict(os.environ)
    # Run from a checkout: the new process has another working folder.
    path = os.pathsep.join(filter(None, (str(root), os.environ.get("PYTHONPATH"))))
    return {**os.environ, "PYTHONPATH": path}


def job_environment(mark: Mark, gpus: Sequence[str], threads: int) -> dict[str, str]:
    """The environment of a job: only its own GPUs by UUID, `threads` CPU threads a process, and none of our settings.

    The service's settings hold passwords, and a job knows no service.
    """
    extra = {
        "CUDA_VISIBLE_DEVICES": ",".join(gpus),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(threads)),
        "PYTHONUNBUFFERED": "1",
    }
    ours = package_environment() | mark.environment() | extra
    kept = {*mark.environment(), WORKER_MARK}
    return {name: value for name, value in ours.items() if not name.startswith("DETCO_") or name in kept}


def launch(
    command: Sequence[str], folder: Path, environment: Mapping[str, str], leash: Leash
) -> subprocess.Popen[bytes]:
    """Start a job in its folder, its output going to `log.txt`; it dies with the thread that calls this.

    `DETCO_PARENT_FD` tells it where its leash is.
    """
    told = {**environment, "DETCO_PARENT_FD": str(leash.fd)}
    with (folder / LOG_FILE).open("ab") as log:
        return start(dying_with_parent(command), folder=folder, environment=told, leash=leash, output=log.fileno())


def log_tail(folder: Path) -> str:
    """The last lines of the log; empty when there is none."""
    try:
        with (folder / LOG_FILE).open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - _LOG_TAIL_BYTES))
            text = log.read().decode("utf-8", errors="replace")
    except FileNotFoundError:
        return ""
    return "\n".join(text.splitlines()[-LOG_TAIL_LINES:])
