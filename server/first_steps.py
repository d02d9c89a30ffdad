"""What must be there before the first request: the tables, and a token to begin with."""

import logging

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from control.db.migrate import upgrade
from control.db.session import open_engine, unit_of_work
from control.errors import SettingsError
from control.records.access.bootstrap import bootstrap_secret, ensure_bootstrap_token
from control.settings import Settings

log = logging.getLogger(__name__)


def prepare(settings: Settings, *, migrate: bool) -> None:
    """Migrate when asked to, and see to the bootstrap token.

    A database that is away stops only a service that was to migrate it: the feature path works without.

    Raises:
        SettingsError: the tables cannot be brought up, or the bootstrap token cannot be read or is too short.
    """
    engine = open_engine(settings.resolved_database_url)
    try:
        if migrate:
            upgrade(engine)
        _ensure_token(settings, engine, make=migrate)
    except SQLAlchemyError as error:
        if migrate:
            raise SettingsError(f"the database cannot be brought to this version's tables: {error}") from error
        log.warning("the database is away, so the bootstrap token was not looked at: %s", error)
    finally:
        engine.dispose()


def _ensure_token(settings: Settings, engine: Engine, *, make: bool) -> None:
    if not make and settings.bootstrap_token_file is None:
        return
    secret = bootstrap_secret(settings.token_file, make=make)
    with unit_of_work(engine) as session:
        ensure_bootstrap_token(session, secret)
