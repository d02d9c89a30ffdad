"""Engines and the unit of work: the only place that commits.

SQLite: one file in WAL mode, writers take the lock at BEGIN (IMMEDIATE) and in turn, so a read inside a unit of work
cannot go stale before its write (`sqlite`). PostgreSQL: READ COMMITTED, and rows that decide are read FOR UPDATE.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, func, make_url, select, text
from sqlalchemy.orm import Session

from control.db import sqlite
from control.db.base import UtcTime, storable

_POSTGRESQL = {
    "connect_timeout": 5,
    "keepalives_idle": 8,
    "keepalives_interval": 4,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
    "options": "-c tcp_keepalives_idle=8 -c tcp_keepalives_interval=4 -c tcp_keepalives_count=3 "
    "-c tcp_user_timeout=20000",
}
"""Either end notices within 20 s that the other is cut off, where the kernel's own patience is two hours: we must not
wait for an answer that long, and the server must let go of the rows we had locked (docs/decisions/168)."""


def open_engine(url: str) -> Engine:
    """An engine for a resolved URL (`Settings.resolved_database_url`); makes the folder of a SQLite file."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        told = {name: value for name, value in _POSTGRESQL.items() if name not in parsed.query}
        return create_engine(parsed, pool_pre_ping=True, connect_args=told, **_QUIETLY)
    # `file:` begins an address of SQLite's own, whose folders are its writer's.
    if parsed.database and not parsed.database.startswith("file:"):
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(parsed, connect_args={"factory": sqlite.Connected}, **_QUIETLY)
    sqlite.set_up(engine)
    return engine


@contextmanager
def unit_of_work(engine: Engine) -> Iterator[Session]:
    """A session that is committed at the end, or rolled back on an exception; objects stay readable afterwards."""
    with Session(engine, expire_on_commit=False) as session, session.begin():
        yield session


@contextmanager
def read_only(engine: Engine) -> Iterator[Session]:
    """A session for looking only: takes no write lock on SQLite, commits nothing."""
    with Session(engine.execution_options(**{sqlite.READ_ONLY: True}), expire_on_commit=False) as session:
        yield session


def database_time(session: Session) -> datetime:
    """Now, by the database's clock: the one clock that leases are measured with."""
    if session.get_bind().dialect.name == "sqlite":
        stamp = session.execute(text("SELECT strftime('%Y-%m-%d %H:%M:%f', 'now')")).scalar_one()
        return datetime.fromisoformat(stamp).replace(tzinfo=UTC)
    return session.execute(select(func.clock_timestamp(type_=UtcTime()))).scalar_one()


def _to_json(document: object) -> str:
    return json.dumps(_storable(document), allow_nan=False)


_QUIETLY: dict[str, Any] = {"json_serializer": _to_json, "hide_parameters": True}
"""An error names its statement and never the values in it, which go to logs."""


def _storable(document: object) -> object:
    if isinstance(document, str):
        return storable(document)
    if isinstance(document, dict):
        return {storable(key): _storable(value) for key, value in document.items()}
    if isinstance(document, (list, tuple)):
        return [_storable(item) for item in document]
    return document
