"""The log of a job, attempt by attempt: from its pieces in tables and store, while it is written and afterwards.

A position in the log of all attempts is `attempt number << 40 | bytes`, so that it grows through retries. Bytes are
counted in what was printed: where a long log has a gap, a line says so, and positions go on behind it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from sqlalchemy.orm import Session

from control.db.models import Attempt, Run
from control.errors import NotFound
from control.records.journal import logs
from control.records.journal.history import list_artifacts, list_attempts
from control.records.runs.runs import get_run
from control.states import TERMINAL
from server.http.answers.files import Opener, StoredFile
from server.http.deps import Services
from server.http.jobs.follow import Look, Message, News, ended

LOG_TYPE = "text/plain; charset=utf-8"
_OLD_LOG = "log.txt"
"""The artifact that held the log of an attempt before there were pieces."""
_CHUNK = 64 * 1024
_SHIFT = 40


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes of a log, or the line that stands for those left out; `open` counts from the part's own beginning."""

    start: int
    end: int
    shown: int
    """Bytes it has in what is sent."""
    open: Opener
    is_gap: bool = False


@dataclass(frozen=True, slots=True)
class Log:
    """What one attempt has printed by now."""

    attempt: int
    parts: Sequence[Part]

    @property
    def end(self) -> int:
        return self.parts[-1].end if self.parts else 0

    def cut(self, start: int, end: int) -> "Log":
        """What of it lies between two positions."""
        return Log(self.attempt, [_cut(p, start, end) for p in self.parts if p.start < end and p.end > start])

    def as_file(self) -> StoredFile:
        """To be sent, whole or by Range."""
        size = sum(part.shown for part in self.parts)
        return StoredFile(_OLD_LOG, size, None, LOG_TYPE, self._read)

    def _read(self, start: int, end: int) -> Iterator[bytes]:
        place = 0
        for part in self.parts:
            first, last = max(start - place, 0), min(end - place, part.shown)
            if first < last:
                yield from part.open(first, last)
            place += part.shown


def find_log(services: Services, run_id: str, number: int | None = None, node: int = 0) -> Log:
    """The log of an attempt on one of its hosts, the newest when no number is given; empty while there is none.

    Raises:
        NotFound: the job, or the attempt.
    """
    with services.look() as session:
        run = get_run(session, run_id)
        attempts = list_attempts(session, run_id)
        if number is None:
            return _log(services, session, run, attempts[-1], node) if attempts else Log(0, ())
        for attempt in attempts:
            if attempt.number == number:
                return _log(services, session, run, attempt, node)
    raise NotFound("attempt", f"{run_id}/{number}")


def look_at_log(services: Services, run_id: str, node: int = 0) -> Look:
    """Looks at the log of a job on one of its hosts, attempt after attempt."""

    def look(position: int) -> News:
        number, offset = position >> _SHIFT, position & (1 << _SHIFT) - 1
        with services.look() as session:
            run = get_run(session, run_id)
            left = [attempt for attempt in list_attempts(session, run_id) if attempt.number >= max(1, number)]
            over = run.state in TERMINAL
            if not left:
                return News([], position, more=False, ended=ended(run) if over else None)
            attempt = left[0]
            log = _log(services, session, run, attempt, node)
        begin = offset if attempt.number == number else 0
        text, read = _next_lines(log, begin, complete=attempt.ended_at is not None)
        here = attempt.number << _SHIFT | read
        if text:
            return News([Message(here, "log", {"text": text, "attempt": attempt.number})], here, more=True, ended=None)
        if len(left) > 1:
            return News([], left[1].number << _SHIFT, more=True, ended=None)
        return News([], here, more=False, ended=ended(run) if over else None)

    return look


def _next_lines(log: Log, offset: int, *, complete: bool) -> tuple[str, int]:
    """Text from `offset` on, cut after a line unless the log is complete or the line is long; and where it ends."""
    if not (left := log.cut(offset, max(offset, log.end)).parts):
        return "", offset
    part = left[0]
    if part.is_gap:
        return b"".join(part.open(0, part.shown)).decode(), part.end
    data = b"".join(part.open(0, min(part.shown, _CHUNK)))
    is_whole = len(data) == part.shown and (complete or len(left) > 1)
    lines = data.rfind(b"\n") + 1
    if not is_whole and (lines or len(data) < _CHUNK):
        data = data[:lines]
    return data.decode("utf-8", "replace"), part.start + len(data)


def _cut(part: Part, start: int, end: int) -> Part:
    if part.is_gap:
        return part
    first, last = max(start, part.start), min(end, part.end)
    skipped = first - part.start
    return Part(first, last, last - first, lambda a, b: part.open(a + skipped, b + skipped))


def _log(services: Services, session: Session, run: Run, attempt: Attempt, node: int) -> Log:
    owner = (run.id, attempt.fence, node)
    if (kept := logs.pieces(session, *owner)) or node:
        return Log(attempt.number, _parts(services, owner, kept))
    for artifact in list_artifacts(session, run.id):
        if artifact.name == _OLD_LOG and artifact.fence == attempt.fence:
            whole = partial(services.store.open_range, artifact.key)
            return Log(attempt.number, [Part(0, artifact.bytes, artifact.bytes, whole)])
    tail = (attempt.log_tail or "").encode()
    return Log(attempt.number, [Part(0, len(tail), len(tail), _of_bytes(tail))] if tail else ())


def _parts(services: Services, owner: tuple[str, int, int], kept: Sequence[logs.Piece]) -> list[Part]:
    """Pieces that follow each other are one part; between parts stands a line that says how much is not there."""
    parts: list[Part] = []
    begin = end = 0
    for piece in (*kept, None):
        if piece is not None and piece.start == end:
            end = piece.end
            continue
        if end > begin:
            parts.append(Part(begin, end, end - begin, _Reader(services, owner, begin).read))
        if piece is not None:
            note = b"\n[%d bytes of the log were left out here]\n" % (piece.start - end)
            parts.append(Part(end, piece.start, len(note), _of_bytes(note), is_gap=True))
            begin, end = piece.start, piece.end
    return parts


def _of_bytes(data: bytes) -> Opener:
    return lambda start, end: iter([data[start:end]])


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads a part from where its pieces are when they are reached: rows may have gone to the store meanwhile."""

    services: Services
    owner: tuple[str, int, int]
    """Run, fence and node."""
    begin: int

    def read(self, start: int, end: int) -> Iterator[bytes]:
        place, end = self.begin + start, self.begin + end
        while place < end:
            with self.services.look() as session:
                found = logs.stretches(session, *self.owner, place, end)
            if not found:  # left out meanwhile; what was promised is its length
                yield b"\n" * (end - place)
                return
            for stretch in found:
                if stretch.start > place:
                    yield b"\n" * (stretch.start - place)
                    place = stretch.start
                first, last = place - stretch.start, min(end - stretch.start, stretch.size)
                if stretch.data is not None:
                    yield stretch.data[first:last]
                elif stretch.key is not None:
                    yield from self.services.store.open_range(stretch.key, first, last)
                place = stretch.start + last
