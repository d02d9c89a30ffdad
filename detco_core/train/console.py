"""What a person sees who runs a job by hand: a progress bar on a terminal, one log line per metric event elsewhere."""

import logging
import shlex
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from detco_core.contract.events import Finished, Metrics, Progress, Stopped
from detco_core.runtime import distributed
from detco_core.runtime.checkpoint import checkpoint_path

_log = logging.getLogger(__name__)


class Console(AbstractContextManager["Console"], Protocol):
    """Shows progress; entered before training and left after it, however that ends."""

    def progress(self, progress: Progress) -> None:
        """Show how far the run is."""

    def metrics(self, metrics: Metrics) -> None:
        """Show the values of a step."""


class Lines:
    """One log line per metric event."""

    def __init__(self) -> None:
        self._progress = Progress(step=0, steps=0)

    def __enter__(self) -> "Lines":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Nothing to put back."""

    def progress(self, progress: Progress) -> None:
        self._progress = progress

    def metrics(self, metrics: Metrics) -> None:
        now = self._progress
        _log.info(
            "step %d/%d  %s  loss %.4f  lr %.2g  %s",
            metrics.step,
            now.steps,
            _epoch(now),
            metrics.values.get("loss", float("nan")),
            metrics.values.get("lr", float("nan")),
            _pace(now),
        )


class Bar:
    """A progress bar with epoch, loss, images per second and time left; log lines appear above it."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
        from rich.progress import Progress as RichProgress

        columns = (
            TextColumn("{task.fields[epoch]}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[loss]}"),
            TextColumn("{task.fields[pace]}"),
        )
        self._bar = RichProgress(*columns, expand=True)
        self._task = self._bar.add_task("training", total=None, epoch="starting", loss="", pace="")
        self._handlers: list[tuple[logging.StreamHandler[Any], Any]] = []

    def __enter__(self) -> "Bar":
        before = (sys.stdout, sys.stderr)
        self._bar.start()
        # The bar puts what is written to stdout and stderr above itself; log handlers hold the streams of before.
        for handler in logging.getLogger().handlers:
            if isinstance(handler, logging.StreamHandler) and handler.stream in before:
                self._handlers.append((handler, handler.setStream(sys.stderr)))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for handler, stream in self._handlers:
            handler.setStream(stream)
        self._handlers.clear()
        self._bar.stop()

    def progress(self, progress: Progress) -> None:
        self._bar.update(
            self._task,
            completed=progress.step,
            total=progress.steps,
            epoch=_epoch(progress),
            pace=_pace(progress),
        )

    def metrics(self, metrics: Metrics) -> None:
        self._bar.update(self._task, loss=f"loss {metrics.values.get('loss', float('nan')):.4f}")


def open_console(*, visible: bool) -> Console:
    """A bar on a terminal that can draw one, lines elsewhere; nothing is shown unless `visible` (rank 0)."""
    if visible and sys.stdout.isatty():
        try:
            return Bar()
        except ImportError:
            _log.info("install rich for a progress bar: pip install 'detco[core]'")
    return Lines() if visible else Silent()


class Silent(Lines):
    """The other processes of a run say nothing."""

    def metrics(self, metrics: Metrics) -> None:
        """Nothing."""


def say_end(ended: Finished | Stopped, folder: Path) -> None:
    """Tell a person how the run ended, where its last checkpoint is, and how to go on when it was stopped."""
    if distributed.rank() != 0:
        return
    path = checkpoint_path(folder, ended.step)
    if isinstance(ended, Finished):
        _log.info("finished %d steps: %s", ended.step, path)
    else:
        command = resume_command(sys.orig_argv, path, distributed.world_size())
        _log.info("stopped at step %d, all saved; to continue:\n  %s", ended.step, command)


def resume_command(argv: Sequence[str], path: Path, processes: int) -> str:
    """The command that continues a run from the checkpoint at `path`, to be pasted into a shell as it is.

    `argv` is how this process was started: `PYTHON ... -m detco_core pretrain JOB.json ...`.
    """
    words = list(argv)
    if "pretrain" not in words:
        return f"python -m detco_core pretrain JOB.json --resume {shlex.quote(str(path))}"
    rest = words[words.index("pretrain") :]
    rest = [word for word in rest if not word.startswith("--resume=")]
    if "--resume" in rest:
        del rest[rest.index("--resume") : rest.index("--resume") + 2]
    start = [words[0]] if processes == 1 else ["torchrun", "--standalone", f"--nproc-per-node={processes}"]
    return shlex.join([*start, "-m", "detco_core", *rest, "--resume", str(path)])


def _epoch(progress: Progress) -> str:
    return f"epoch {progress.epoch:.2f}/{progress.epochs:g}"


def _pace(progress: Progress) -> str:
    left = "" if progress.eta_seconds is None else f"  {timedelta(seconds=round(progress.eta_seconds))} left"
    return f"{progress.images_per_second:.1f} img/s  data wait {progress.data_wait:.0%}{left}"
