"""The doors a worker and a person both use: `python -m detco_core VERB JOB.json`.

VERB is `pretrain`, `evaluate`, `export`, `extract`, `check` or `import`.

A job appends its events to `events.jsonl` in its folder and ends with one of three: `finished` (exit code 0), `stopped`
(75, after SIGTERM or Ctrl-C) or `error` (1). Each verb is a function that does the work, speaks through the reporter,
returns its closing event or None for a plain `finished`, and raises `DetcoError` for what a person must mend.
Torch and the rest are imported inside the verb that needs them; `check` needs none of it.
"""

import argparse
import errno
import hashlib
import logging
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from detco_core import __version__
from detco_core.contract.errors import DetcoError
from detco_core.contract.events import (
    EXIT_STOPPED,
    ArtifactSaved,
    Failed,
    Finished,
    Progress,
    Reported,
    Started,
    Stopped,
)
from detco_core.contract.jobs import (
    VERBS,
    CheckJob,
    EvaluateJob,
    ExportJob,
    ExtractJob,
    ImportJob,
    PretrainJob,
    read_job,
)
from detco_core.contract.reader import plain
from detco_core.contract.remedies import for_less_memory
from detco_core.contract.shortage import is_out_of_memory
from detco_core.runtime.parent import watch_parent
from detco_core.runtime.reporter import Reporter
from detco_core.runtime.stop import Interrupted, StopRequest

_log = logging.getLogger("detco_core")

Closing = Finished | Stopped | Failed
EXIT_INTERRUPTED = 130
"""A second Ctrl-C, as a shell reports it; the job has no last event then."""
_EXIT_CODES: dict[type[Any], int] = {Finished: 0, Stopped: EXIT_STOPPED, Failed: 1}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one job; returns the exit code."""
    options = _parser().parse_args(arguments)
    rank = int(os.environ.get("RANK", "0"))
    logging.basicConfig(format=f"%(asctime)s {'' if rank == 0 else f'[{rank}] '}%(message)s")
    # Of our own words all, of the libraries' only warnings: an export says hundreds of lines otherwise.
    _log.setLevel(logging.INFO)
    watch_parent()
    # Threads that wait by spinning take the cores of their own siblings as soon as anything else runs on the machine:
    # four times the CPU time a step on two busy cores. OpenMP reads this once, when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        with StopRequest() as stop:
            closing = _run(options, rank, stop)
    except KeyboardInterrupt:
        _log.warning("left at once: what was done since the last checkpoint is lost")
        return EXIT_INTERRUPTED
    return _EXIT_CODES[type(closing)]


def _run(options: argparse.Namespace, rank: int, stop: StopRequest) -> Closing:
    # Until the job says where its folder is, that of its file, which a worker makes the same.
    reporter = Reporter(options.job.absolute().parent, rank)
    try:
        job = read_job(VERBS[options.verb], options.job)
        reporter = Reporter(Path(job.folder), rank)
        if options.resume is not None and isinstance(job, PretrainJob):
            job = replace(job, resume=str(options.resume), resume_sha256=None)
        closing = _WORK[options.verb](job, reporter, stop) or Finished()
    except KeyboardInterrupt:
        reporter.close()
        raise
    except Interrupted:
        closing = Stopped(step=0)
    except Exception as error:  # noqa: BLE001 - whatever it is, the job's last event has to name it
        closing = _failure(error, options.verb)
    with reporter:
        reporter.emit(closing)
    return closing


def _pretrain(job: PretrainJob, reporter: Reporter, stop: StopRequest) -> Closing:
    from detco_core.data.workers import start_server

    if job.config.data.workers:
        # The loaders' server imports torch while this process does the same.
        start_server()
    from detco_core.train.job import run

    return run(job, reporter, stop)


def _evaluate(job: EvaluateJob, reporter: Reporter, stop: StopRequest) -> None:
    from detco_core.evaluation.job import run

    with stop.interrupting():
        run(job, reporter)


def _export(job: ExportJob, reporter: Reporter, stop: StopRequest) -> None:
    from detco_core.export.job import run

    with stop.interrupting():
        run(job, reporter)


def _check(job: CheckJob, reporter: Reporter, stop: StopRequest) -> None:
    from detco_core.data.scan import BROKEN, MANIFEST, scan

    reporter.emit(Started(environment={"version": __version__}))
    with stop.interrupting():
        report = scan(job, lambda done, total: reporter.emit(Progress(step=done, steps=total)))
    for name in (MANIFEST, BROKEN):
        path = Path(job.folder) / name
        if path.is_file():
            reporter.emit(ArtifactSaved(name=name, path=name, bytes=path.stat().st_size, sha256=_digest(path)))
    reporter.emit(Reported(report=plain(report)))


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()


def _import(job: ImportJob, reporter: Reporter, stop: StopRequest) -> None:
    from detco_core.nets.foreign.job import run

    with stop.interrupting():
        run(job, reporter)


def _extract(job: ExtractJob, reporter: Reporter, stop: StopRequest) -> None:
    from detco_core.extraction.job import run

    # What is lost is the shard under way; those that are finished are taken over.
    with stop.interrupting():
        run(job, reporter)


_WORK: dict[str, Callable[[Any, Reporter, StopRequest], Closing | None]] = {
    "pretrain": _pretrain,
    "evaluate": _evaluate,
    "export": _export,
    "check": _check,
    "import": _import,
    "extract": _extract,
}


def _failure(error: Exception, verb: str) -> Failed:
    if isinstance(error, DetcoError):
        _log.error("%s", error)
        return Failed(kind=error.kind, message=str(error))
    _log.error("the job failed", exc_info=error)
    if is_out_of_memory(error):
        return Failed(kind="out_of_memory", message=f"out of memory ({_first_line(error)}); {for_less_memory(verb)}")
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        unharmed = "free disk space: what was saved before is unharmed, and a run goes on from its last checkpoint"
        return Failed(kind="internal", message=f"the disk is full ({_first_line(error)}); {unharmed}")
    return Failed(kind="internal", message=f"{type(error).__name__}: {_first_line(error)}")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0][:500]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m detco_core", description="Run one job, without any service.")
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument("verb", choices=sorted(VERBS), help="what to do")
    parser.add_argument("job", type=Path, metavar="JOB.json", help="the job file (detco_core.contract.jobs)")
    parser.add_argument("--resume", type=Path, metavar="CHECKPOINT", help="pretrain: continue from this checkpoint")
    return parser


if __name__ == "__main__":
    sys.exit(main())
