"""INSERT with ON CONFLICT, which both databases have and SQLAlchemy spells by dialect."""

from typing import Any

from sqlalchemy import inspect
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from control.db.base import Base


def insert_into(session: Session, table: type[Base]) -> postgresql.Insert | sqlite.Insert:
    """The session's own kind of INSERT into a table."""
    return sqlite.insert(table) if session.get_bind().dialect.name == "sqlite" else postgresql.insert(table)


def insert_if_absent(session: Session, table: type[Base], values: dict[str, Any]) -> bool:
    """Insert a row unless its key is taken; whether it was. One that another transaction is inserting is waited for."""
    insert = insert_into(session, table).values(values).on_conflict_do_nothing()
    return session.execute(insert.returning(*inspect(table).primary_key)).first() is not None
