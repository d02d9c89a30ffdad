"""What a person sees who runs a job by hand: a progress bar on a terminal, one log line per metric event elsewhere."""

import logging
import sys
from contextlib import AbstractContextManager
from datetime import timedelta
from types import TracebackType
from typing import Protocol

from detco_core.contract.events import Metrics, Progress

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
            "step %d/%d  epoch %.2f  loss %.4f  lr %.2g  %s",
            metrics.step,
            now.steps,
            now.epoch,
            metrics.values.get("loss", float("nan")),
            metrics.values.get("lr", float("nan")),
            _pace(now),
        )


class Bar:
    """A progress bar with loss, images per second and time left."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
        from rich.progress import Progress as RichProgress

        columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[pace]}"))
        self._bar = RichProgress(*columns)
        self._task = self._bar.add_task("training", total=None, pace="")

    def __enter__(self) -> "Bar":
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._bar.stop()

    def progress(self, progress: Progress) -> None:
        self._bar.update(self._task, completed=progress.step, total=progress.steps, pace=_pace(progress))

    def metrics(self, metrics: Metrics) -> None:
        self._bar.update(self._task, description=f"loss {metrics.values.get('loss', float('nan')):.4f}")


def open_console(*, visible: bool) -> Console:
    """A bar on a terminal that can draw one, lines elsewhere; nothing is shown unless `visible` (rank 0)."""
    if visible and sys.stdout.isatty():
        try:
            return Bar()
        except ImportError:
            _log.info("install rich for a progress bar")
    return Lines() if visible else Silent()


class Silent(Lines):
    """The other processes of a run say nothing."""

    def metrics(self, metrics: Metrics) -> None:
        """Nothing."""


def _pace(progress: Progress) -> str:
    left = "" if progress.eta_seconds is None else f"  {timedelta(seconds=round(progress.eta_seconds))} left"
    return f"{progress.images_per_second:.1f} img/s  data wait {progress.data_wait:.0%}{left}"
