"""Brings a database to the tables this version needs."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text

from control.db.session import read_only

_FOLDER = Path(__file__).with_name("migrations")
_LOCK = 0x64657463
"""Advisory lock of PostgreSQL that one migration holds at a time: "detc"."""


def upgrade(engine: Engine) -> None:
    """Apply every migration that is missing; two at once are one after the other. All or nothing."""
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        command.upgrade(_config(connection), "head")


def at_head(engine: Engine) -> bool:
    """Whether the database has exactly the tables of this version."""
    with read_only(engine) as session:
        current = MigrationContext.configure(session.connection()).get_current_heads()
    return set(current) == set(ScriptDirectory.from_config(_config()).get_heads())


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
