"""The log of a job: from the folder an attempt writes it in, from the store, or its last lines from the attempt's row.

A position in the log of all attempts is `attempt number << 40 | bytes`, so that it grows through retries.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sqlalchemy.orm import Session

from control.db.models import Attempt, Run
from control.errors import NotFound
from control.records.history import list_artifacts, list_attempts
from control.records.runs import get_run
from control.states import TERMINAL
from server.http.deps import Services
from server.http.files import Opener, StoredFile
from server.http.follow import Look, Message, News, ended

LOG_ARTIFACT = "log.txt"
LOG_TYPE = "text/plain; charset=utf-8"
_CHUNK = 64 * 1024
_SHIFT = 40


@dataclass(frozen=True, slots=True)
class Log:
    """What one attempt has written by now."""

    attempt: int
    size: int
    open: Opener


def find_log(services: Services, run_id: str, number: int | None = None) -> Log:
    """The log of an attempt, the newest when no number is given; empty while there is none.

    Raises:
        NotFound: the job, or the attempt.
    """
    with services.look() as session:
        run = get_run(session, run_id)
        attempts = list_attempts(session, run_id)
        if number is None:
            return _log(services, session, run, attempts[-1]) if attempts else Log(0, 0, _of_bytes(b""))
        for attempt in attempts:
            if attempt.number == number:
                return _log(services, session, run, attempt)
    raise NotFound("attempt", f"{run_id}/{number}")


def log_file(log: Log, offset: int) -> StoredFile:
    """The log behind its first `offset` bytes, to be sent."""

    def behind(start: int, end: int) -> Iterator[bytes]:
        return log.open(start + offset, end + offset)

    return StoredFile(LOG_ARTIFACT, max(0, log.size - offset), None, LOG_TYPE, behind)


def look_at_log(services: Services, run_id: str) -> Look:
    """Looks at the log of a job, attempt after attempt."""

    def look(position: int) -> News:
        number, offset = position >> _SHIFT, position & (1 << _SHIFT) - 1
        with services.look() as session:
            run = get_run(session, run_id)
            left = [attempt for attempt in list_attempts(session, run_id) if attempt.number >= max(1, number)]
            over = run.state in TERMINAL
            if not left:
                return News([], position, more=False, ended=ended(run) if over else None)
            attempt = left[0]
            log = _log(services, session, run, attempt)
        text, read = _whole_lines(log, offset if attempt.number == number else 0, attempt.ended_at is not None)
        here = attempt.number << _SHIFT | read
        if text:
            return News([Message(here, "log", {"text": text, "attempt": attempt.number})], here, more=True, ended=None)
        if len(left) > 1:
            return News([], left[1].number << _SHIFT, more=True, ended=None)
        return News([], here, more=False, ended=ended(run) if over else None)

    return look


def _whole_lines(log: Log, offset: int, complete: bool) -> tuple[str, int]:
    """Text from `offset` on, cut after a line unless the log is complete or the line is long; and where it ends."""
    data = b"".join(log.open(offset, min(log.size, offset + _CHUNK))) if offset < log.size else b""
    if not complete and len(data) < _CHUNK:
        data = data[: data.rfind(b"\n") + 1]
    return data.decode("utf-8", "replace"), offset + len(data)


def _log(services: Services, session: Session, run: Run, attempt: Attempt) -> Log:
    local = services.settings.work_dir / run.id / f"attempt-{attempt.fence}" / LOG_ARTIFACT
    try:
        return Log(attempt.number, local.stat().st_size, _of_file(local))
    except OSError:
        pass  # Written on another machine, or tidied away.
    for artifact in list_artifacts(session, run.id):
        if artifact.name == LOG_ARTIFACT and artifact.fence == attempt.fence:
            return Log(attempt.number, artifact.bytes, partial(services.store.open_range, artifact.key))
    tail = (attempt.log_tail or "").encode()
    return Log(attempt.number, len(tail), _of_bytes(tail))


def _of_bytes(data: bytes) -> Opener:
    return lambda start, end: iter([data[start:end]])


def _of_file(path: Path) -> Opener:
    def read(start: int, end: int) -> Iterator[bytes]:
        with path.open("rb") as file:
            file.seek(start)
            left = end - start
            while left > 0 and (data := file.read(min(left, _CHUNK))):
                left -= len(data)
                yield data

    return read
