"""Idempotency keys: a POST that comes again with the same key and body is answered as the first time.

The key is written in the transaction that does the work, so either both are there or neither. A second request with the
same key at the same time waits for the first one's commit, for a few seconds; it is then told that the first goes on.
"""

from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import delete, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from control.db.models import IdempotencyKey
from control.db.session import database_time
from control.db.upsert import insert_if_absent
from control.errors import InProgress, InvalidRequest, KeyReused

KEEP = timedelta(hours=48)
_MAX_KEY = 255
PATIENCE_SECONDS = 5.0
_LOCK_NOT_AVAILABLE = "55P03"
"""PostgreSQL: somebody else held the row for longer than `lock_timeout`."""


@dataclass(frozen=True, slots=True)
class Slip:
    """Names one keyed request: who asked, where, with which key."""

    token_id: str
    route: str
    """Method and path template, e.g. `POST /v1/runs`."""
    key: str
    fingerprint: str
    """`contract.reader.digest` of the request's body and query."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered."""

    status: int
    location: str | None
    body: dict[str, Any]


def recall(session: Session, slip: Slip) -> Answer | None:
    """The answer given to this key before; None: it is new and now taken, and `remember` must follow.

    Raises:
        KeyReused: the key came before with another body.
        InProgress: the first request with this key has not been answered yet.
        InvalidRequest: the key is empty or too long.
    """
    if not 1 <= len(slip.key) <= _MAX_KEY:
        raise InvalidRequest("Idempotency-Key", f"must have 1 to {_MAX_KEY} characters")
    if _take(session, slip):
        return None
    known = session.get_one(IdempotencyKey, _identity(slip), populate_existing=True)
    if known.fingerprint != slip.fingerprint:
        raise KeyReused("Idempotency-Key", "came before with another body: use a new key for a new request")
    return Answer(known.status or 0, known.location, known.body or {})


def remember(session: Session, slip: Slip, answer: Answer) -> None:
    """Store the answer, in the same transaction as `recall`."""
    row = session.get_one(IdempotencyKey, _identity(slip))
    row.status, row.location, row.body = answer.status, answer.location, answer.body


def forget_old(session: Session) -> None:
    """Drop keys older than `KEEP`."""
    session.execute(delete(IdempotencyKey).where(IdempotencyKey.created_at < database_time(session) - KEEP))


def _take(session: Session, slip: Slip) -> bool:
    """Whether the key was free. SQLite has one writer at a time: whoever is here is alone already."""
    if session.get_bind().dialect.name == "sqlite":
        return insert_if_absent(session, IdempotencyKey, asdict(slip))
    session.execute(text(f"SET LOCAL lock_timeout = '{PATIENCE_SECONDS * 1000:.0f}ms'"))
    try:
        taken = insert_if_absent(session, IdempotencyKey, asdict(slip))
    except OperationalError as error:
        if getattr(error.orig, "sqlstate", None) != _LOCK_NOT_AVAILABLE:
            raise
        raise InProgress("the first request with this Idempotency-Key is still being answered: ask again") from error
    session.execute(text("SET LOCAL lock_timeout = DEFAULT"))
    return taken


def _identity(slip: Slip) -> tuple[str, str, str]:
    return slip.token_id, slip.route, slip.key
