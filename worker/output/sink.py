"""Takes an attempt's events from its file to the tables, and the files they name to the store.

Events that name a file wait for its upload; the others do not wait for them, so that progress stays fresh while a
large checkpoint is on its way. Nothing is lost while database or store are away: what was not taken is still in the
folder, and is tried again.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from sqlalchemy import Engine

from control.bus import Bus, run_topic
from control.db.session import unit_of_work
from control.errors import ArtifactMissing, BeingRemoved, DigestMismatch, StoreError, StoreFull
from control.records.life import feed
from control.storage.base import Store, key_of
from detco_core.contract.events import ArtifactSaved, CheckpointSaved, Event, Failed, Finished, Stopped, Warned
from detco_core.contract.extractions.files import is_shard
from detco_core.contract.jobs import EVENTS_FILE
from worker.background import in_background
from worker.outages import DATABASE_AWAY, RETRY_SECONDS
from worker.output.logs import LogShipper
from worker.output.tail import Line, Tail
from worker.processes import Mark

Ending = Finished | Stopped | Failed
"""The last event of a job that ended by itself."""

_PULSE = 0.5
"""Seconds between two looks at the file; the API's progress may be 2 s old at most."""

_UPLOADS = 4
"""Files on their way to the store at once: two shards of features with their index parts in a pulse, not half a one."""

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _NamedFile:
    """A file on its way to the store, and the event that waits for it."""

    event: Event
    body: CheckpointSaved | ArtifactSaved
    start: int
    """Of the event's line, in bytes."""
    upload: Future[str] | None = None
    is_ahead: bool = False
    """Its upload was begun before its turn."""


class Sink:
    """One attempt's way into tables and store; `pump` does one round of it."""

    def __init__(
        self,
        engine: Engine,
        store: Store,
        bus: Bus,
        mark: Mark,
        folder: Path,
        retry_seconds: float = RETRY_SECONDS,
    ) -> None:
        self._engine = engine
        self._retry_seconds = retry_seconds
        self._store = store
        self._bus = bus
        self._mark = mark
        self._folder = folder
        self._tail = Tail(folder / EVENTS_FILE)
        self._files: deque[_NamedFile] = deque()
        self._upload_not_before = 0.0
        self._has_warned = False
        self.last_seq = 0
        """Of the newest event that was read; 0 while the job has said nothing."""
        self.ending: Ending | None = None
        """The job's last event, once it was read."""
        self.damaged: list[str] = []
        """What is wrong with named files that can never be stored: missing, or not what was named."""
        self.known_as: Mapping[str, str] = {}
        """What people call the files that were brought for the job, by the paths at which it found them."""
        self.is_stale = False
        """Another owns the run: nothing was written since, and nothing will be."""

    def pump(self) -> bool:
        """Take what is new; True when nothing is left to take.

        Raises:
            OperationalError, InterfaceError: the database is away; call again later.
        """
        lines = self._tail.read()
        if lines:
            self._take(lines)
        while (file := self._first_stored()) is not None:
            following = self._files[1].start if len(self._files) > 1 else self._tail.offset
            if not self._register(file, following):
                break
            self._files.popleft()
            if _is_bulky(file.body):  # the store's copy is the one that counts; disks are finite
                (self._folder / file.body.path).unlink(missing_ok=True)
        return not lines and not self._files

    def _take(self, lines: list[Line]) -> None:
        files = [file for line in lines if (file := _named_file(line)) is not None]
        waiting = [*self._files, *files]
        end = lines[-1].end
        told = [_retold(line.event, self.known_as) for line in lines if _named_file(line) is None]
        self._ingest(told, waiting[0].start if waiting else end)
        # Only now, since the same lines are read again when the database was away.
        self._files.extend(files)
        self._tail.offset = end
        self.last_seq = max(self.last_seq, *(line.event.seq for line in lines))
        endings = [event.body for event in told if isinstance(event.body, Finished | Stopped | Failed)]
        self.ending = endings[-1] if endings else self.ending

    def _ingest(self, events: list[Event], offset: int, needs: str | None = None) -> None:
        """Take events into the tables; `needs` is the key of the object that they name."""
        if not events or self.is_stale:
            return
        with unit_of_work(self._engine) as session:
            stale = not feed.ingest(session, self._mark.run, self._mark.fence, events, offset)
            # Ours from here on; but it may have been deleted between its upload and now.
            if needs is not None and not stale and not self._store.exists(needs):
                raise ArtifactMissing(f"{needs} was deleted before it was registered")
        self.is_stale = stale
        self._bus.publish(run_topic(self._mark.run))

    def _register(self, file: _NamedFile, following: int) -> bool:
        """Take the event of a file that was stored; False when the file must be stored once more."""
        try:
            self._ingest([file.event], following, key_of(file.body.sha256))
        except StoreError as error:
            self._mourn(file, error)
            return False
        self._has_warned = False
        return True

    def _first_stored(self) -> _NamedFile | None:
        """The first waiting file if it is in the store by now; sees to it that it and the next are on their way."""
        while self._files:
            self._begin_uploads()
            file = self._files[0]
            if file.upload is None or not file.upload.done():
                return None
            if (error := file.upload.exception()) is None:
                return file
            if not file.is_ahead:
                self._mourn(file, error)
                continue
            # No news: what was wrong then was told, or is over. It is tried as all others are in their turn.
            file.upload, file.is_ahead = None, False
        return None

    def _begin_uploads(self) -> None:
        if time.monotonic() < self._upload_not_before:
            return
        for place, file in enumerate(islice(self._files, _UPLOADS)):
            if file.upload is None:
                file.upload, file.is_ahead = self._begin_upload(file.body), place > 0

    def _begin_upload(self, body: CheckpointSaved | ArtifactSaved) -> Future[str]:
        def upload() -> str:
            path = (self._folder / body.path).resolve()
            if not path.is_relative_to(self._folder.resolve()) or not path.is_file():
                raise FileNotFoundError(f"an event named {body.path}, which is no file of the job's folder")
            return self._store.put(path, body.sha256)

        return in_background(upload, "upload")

    def _mourn(self, file: _NamedFile, error: BaseException) -> None:
        _log.warning("%s: %s is not stored: %s", self._mark.run, file.body.path, error)
        if isinstance(error, FileNotFoundError | DigestMismatch):
            self.damaged.append(str(error))
            self._files.popleft()
        elif isinstance(error, StoreError | OSError):
            file.upload = None
            self._upload_not_before = time.monotonic() + self._retry_seconds
            self._warn(error)
        else:
            raise error

    def _warn(self, error: BaseException) -> None:
        """Tell the run's readers, once, that what it saved has to wait."""
        if self._has_warned or isinstance(error, ArtifactMissing | BeingRemoved):
            return
        code = "store_full" if isinstance(error, StoreFull) else "store_unavailable"
        message = f"what the run saves waits on its worker, and nothing is lost: {error}"
        with unit_of_work(self._engine) as session:
            feed.warn(session, self._mark.run, self._mark.fence, code, message)
        self._has_warned = True
        self._bus.publish(run_topic(self._mark.run))


class Feed(threading.Thread):
    """Pumps a sink and ships the log as long as the job runs, and on until everything it said is taken."""

    def __init__(self, sink: Sink, log: LogShipper) -> None:
        super().__init__(name="feed", daemon=True)
        self._sink = sink
        self._log = log
        self._ended = threading.Event()
        self.fault: Exception | None = None
        """Why nothing more can be taken: an error that waiting does not mend."""
        self.taken = threading.Event()
        """Set when the job has ended and everything it said is in tables and store."""

    def finish(self) -> None:
        """The job has ended: what is in its files now is all there will be."""
        self._ended.set()

    def run(self) -> None:
        while not (self._sink.is_stale or self.taken.is_set()):
            ended = self._ended.is_set()
            try:
                is_shipped = self._log.ship()
                if self._sink.pump() and is_shipped and ended:
                    self._log.seal()
                    self.taken.set()
            except DATABASE_AWAY as error:
                _log.warning("events wait in their file: the database does not answer: %s", error)
                time.sleep(RETRY_SECONDS)
            except Exception as error:  # noqa: BLE001 - whatever it is, the runner must hear of it
                _log.exception("what the job says cannot be kept")
                self.fault = error
                return
            time.sleep(_PULSE / 10) if ended else self._ended.wait(_PULSE)


def _retold(event: Event, known_as: Mapping[str, str]) -> Event:
    """A warning or error that names files as people know them: the folder they were brought to is nothing to them."""
    body = event.body
    if not isinstance(body, Warned | Failed):
        return event
    message = body.message
    for path in sorted(known_as, key=len, reverse=True):  # `source.pth` before `source.pt`
        message = message.replace(path, known_as[path])
    return replace(event, body=replace(body, message=message))


def _is_bulky(body: CheckpointSaved | ArtifactSaved) -> bool:
    """A checkpoint, or a shard of features: its job needs it no more once it is stored."""
    return isinstance(body, CheckpointSaved) or is_shard(body.name)


def _named_file(line: Line) -> _NamedFile | None:
    body = line.event.body
    return _NamedFile(line.event, body, line.start) if isinstance(body, CheckpointSaved | ArtifactSaved) else None
