"""Says what happens while a run trains: as events for whoever reads them, on the console for whoever looks."""

import logging
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from detco_core.contract.events import ArtifactSaved, CheckpointSaved, Metrics, Progress, Warned
from detco_core.runtime import distributed
from detco_core.runtime.checkpoint import SavedFile, whole
from detco_core.runtime.meters import Speed
from detco_core.runtime.reporter import Reporter
from detco_core.train.alarms import Alarms
from detco_core.train.console import Console
from detco_core.train.tracks import Track

PROGRESS_SECONDS = 0.5
"""Progress is told when the last word is this old, so that it is never older than this and one step."""
NAMED_FILES = 100
"""Files named in one warning."""

_log = logging.getLogger(__name__)


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
    alarms: Alarms
    tracks: Sequence[Track] = ()
    _told: float = field(default=-math.inf, init=False)
    _broken: dict[str, None] = field(default_factory=dict, init=False)
    """Files found broken since the last metric event, each once."""
    _named: set[str] = field(default_factory=set, init=False)
    _finished: bool = field(default=False, init=False)
    """Whether the last step was told."""
    _failed: set[str] = field(default_factory=set, init=False)
    """Tracks whose failure was told."""

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
        """Tell the values of a step, what alarms they raise, and which files were broken; all processes take part."""
        # In a healthy run the gradient norm alone can be infinite: fp16's scaler tries such steps.
        metrics = Metrics(step=done, values={name: value for name, value in values.items() if math.isfinite(value)})
        self._finished = done == self.length.steps
        self.reporter.emit(metrics)
        self.console.metrics(metrics)
        for track in self.tracks:
            track.metrics(metrics)
        for alarm in self.alarms.look(done, metrics.values):
            self.warn(alarm)
        self._tell_broken()
        self._tell_failures()

    def warn(self, warning: Warned) -> None:
        """Tell a person of something that does not stop the run."""
        self.reporter.emit(warning)
        if distributed.rank() == 0:
            _log.warning("%s", warning.message)

    def broken(self, files: Iterable[str]) -> None:
        """Remember files that could not be read."""
        self._broken.update(dict.fromkeys(files))

    def saved(self, file: SavedFile, done: int) -> None:
        """Tell of a checkpoint that is complete and on disk."""
        path = file.path.relative_to(self.folder).as_posix()
        epoch = self.length.epoch(done)
        self.reporter.emit(CheckpointSaved(step=done, epoch=epoch, path=path, bytes=file.bytes, sha256=file.sha256))

    def kept(self, file: SavedFile) -> None:
        """Tell of another file that is complete and on disk; it is named by its place in the job's folder."""
        path = file.path.relative_to(self.folder).as_posix()
        self.reporter.emit(ArtifactSaved(name=path, path=path, bytes=file.bytes, sha256=file.sha256))

    def __enter__(self) -> "Narrator":
        self.console.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Nothing more will be told: the console is put back, other programs take leave, their files are named."""
        self.console.__exit__(kind, error, at)
        for track in self.tracks:
            written = track.close(finished=self._finished)
            if written is not None and kind is None:
                self.kept(whole(written))
        self._tell_failures()

    def _tell_broken(self) -> None:
        found = {path for paths in distributed.collect(list(self._broken)) for path in paths} - self._named
        self._broken.clear()
        if found:
            self._named |= found
            message = f"{len(found)} files cannot be read; other images were taken in their place"
            details = {"files": sorted(found)[:NAMED_FILES], "count": len(found)}
            self.warn(Warned(code="broken_images", message=message, details=details))

    def _tell_failures(self) -> None:
        for track in self.tracks:
            if (failure := track.failure()) is not None and track.name not in self._failed:
                self._failed.add(track.name)
                message = f"{track.name} is told nothing any more ({failure}); the run goes on without it"
                self.warn(Warned(code="tracking_failed", message=message, details={"track": track.name}))
