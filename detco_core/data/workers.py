"""Loader processes: how they start, what they ignore, and that none outlives the process it loads for.

They are forked from a fork server, a small process that has imported the loaders once and has one thread. A plain fork
of the trainer would copy locks held by its other threads (torch, CUDA, the reporter) and can hang; `spawn` would import
torch once per worker (docs/decisions/054-loader-processes.md).
"""

import multiprocessing
import os
import signal
import threading
from multiprocessing import forkserver, resource_tracker
from multiprocessing.process import BaseProcess
from typing import Any

PRELOAD = ["detco_core.data.loaders"]
EXIT_TOLD = 0
EXIT_ALONE = 70


def worker_options(count: int) -> dict[str, Any]:
    """Keyword arguments for a `DataLoader` with `count` processes; 0 loads in the calling process."""
    if count == 0:
        return {"num_workers": 0}
    start_server()
    return {
        "num_workers": count,
        "multiprocessing_context": "forkserver",
        "worker_init_fn": prepare_worker,
        "prefetch_factor": 2,
    }


def start_server() -> None:
    """Start the fork server, once per process, deaf to SIGTERM as all that are forked from it.

    A launcher's SIGTERM goes to the whole process group and means "save at the next step": the trainer still needs its
    batches until then. The server ends by itself when the trainer and the workers are gone.
    """
    multiprocessing.set_forkserver_preload(PRELOAD)
    # Started first: left to the fork server's start, it would unblock SIGTERM on its way.
    resource_tracker.ensure_running()
    # Its own deafness to SIGINT, a terminal's Ctrl-C, comes only after its imports, which take seconds.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def prepare_worker(worker: int) -> None:
    """Run in each loader process as it starts: signals are the trainer's business, and it leaves when the trainer does.

    torch's own checks look at the parent's id, which here is the fork server's.
    """
    trainer = multiprocessing.parent_process()
    if trainer is None:
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    for watch in (_leave_when_told, _leave_when_alone):
        threading.Thread(target=watch, args=(trainer,), name=watch.__name__, daemon=True).start()


def _leave_when_told(trainer: BaseProcess) -> None:
    """Obey SIGTERM from the trainer, who ends its loaders so when it exits, and from nobody else."""
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != trainer.pid:
        pass
    os._exit(EXIT_TOLD)


def _leave_when_alone(trainer: BaseProcess) -> None:
    trainer.join()
    os._exit(EXIT_ALONE)
