"""Says what happens while a run trains: as events for whoever reads them, on the console for whoever looks."""

import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from detco_core.contract.events import CheckpointSaved, Metrics, Progress, Warned
from detco_core.runtime import distributed
from detco_core.runtime.checkpoint import SavedFile
from detco_core.runtime.meters import Speed
from detco_core.runtime.reporter import Reporter
from detco_core.train.console import Console

PROGRESS_SECONDS = 0.5
"""Progress is told when the last word is this old, so that it is never older than this and one step."""
NAMED_FILES = 100
"""Broken files named in one warning."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Length:
    """How long a run is."""

    steps: int
    steps_per_epoch: int

    def epoch(self, done: int) -> float:
        """Passes over the data made in `done` steps."""
        return done / self.steps_per_epoch


@dataclass(kw_only=True)
class Narrator:
    """Tells the story of one run."""

    folder: Path
    length: Length
    reporter: Reporter
    console: Console
    _told: float = field(default=-math.inf, init=False)
    _broken: dict[str, None] = field(default_factory=dict, init=False)
    """Files found broken since the last metric event, each once."""
    _named: set[str] = field(default_factory=set, init=False)

    def progress(self, done: int, speed: Speed) -> None:
        """Tell how far the run is, unless that was told just now; the first and the last step always are."""
        now = time.monotonic()
        if now - self._told < PROGRESS_SECONDS and done < self.length.steps:
            return
        self._told = now
        progress = Progress(
            step=done,
            steps=self.length.steps,
            epoch=self.length.epoch(done),
            epochs=self.length.epoch(self.length.steps),
            images_per_second=speed.images_per_second,
            data_wait=speed.data_wait,
            eta_seconds=speed.eta_seconds(self.length.steps - done),
        )
        self.reporter.emit(progress)
        self.console.progress(progress)

    def metrics(self, done: int, values: Mapping[str, float]) -> None:
        """Tell the values of a step, and which files were found broken; all processes take part."""
        # Of the values only the gradient norm can be infinite in a healthy run: fp16's scaler tries such steps.
        metrics = Metrics(step=done, values={name: value for name, value in values.items() if math.isfinite(value)})
        self.reporter.emit(metrics)
        self.console.metrics(metrics)
        self._tell_broken()

    def broken(self, files: Iterable[str]) -> None:
        """Remember files that could not be read."""
        self._broken.update(dict.fromkeys(files))

    def saved(self, file: SavedFile, done: int) -> None:
        """Tell of a checkpoint that is complete and on disk."""
        path = file.path.relative_to(self.folder).as_posix()
        epoch = self.length.epoch(done)
        self.reporter.emit(CheckpointSaved(step=done, epoch=epoch, path=path, bytes=file.bytes, sha256=file.sha256))

    def _tell_broken(self) -> None:
        found = {path for paths in distributed.collect(list(self._broken)) for path in paths} - self._named
        self._broken.clear()
        if found:
            self._named |= found
            message = f"{len(found)} files cannot be read; other images were taken in their place"
            details = {"files": sorted(found)[:NAMED_FILES], "count": len(found)}
            self.reporter.emit(Warned(code="broken_images", message=message, details=details))
