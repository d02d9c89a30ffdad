from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, inspect, make_url

from control.db import migrate
from control.db.base import Base
from control.db.session import open_engine


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """A database without any table."""
    if request.param == "sqlite":
        engine = open_engine(f"sqlite:///{tmp_path}/empty.sqlite3")
    else:
        name, url = f"d{uuid4().hex}", make_url(request.getfixturevalue("postgresql_url"))
        server = open_engine(url.render_as_string())
        with server.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {name}")
        server.dispose()
        engine = open_engine(url.set(database=name).render_as_string())
    yield engine
    engine.dispose()


def test_upgrading_gives_exactly_the_models(empty: Engine) -> None:
    assert not migrate.at_head(empty)
    migrate.upgrade(empty)
    assert migrate.at_head(empty)
    with empty.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


def test_an_older_database_keeps_what_it_holds(empty: Engine) -> None:
    with empty.begin() as connection:
        command.upgrade(migrate._config(connection), "0001")
        connection.exec_driver_sql(
            "INSERT INTO weights (id, uri, architecture, state, created_at, created_by) "
            "VALUES ('wts_1', '/w.pth', 'resnet18', 'ready', '2026-01-01', 'ada')"
        )
    migrate.upgrade(empty)
    with empty.connect() as connection:
        found = connection.exec_driver_sql("SELECT id, state, file_digest FROM weights").one()
    assert tuple(found) == ("wts_1", "ready", None)


def test_upgrading_again_changes_nothing(empty: Engine) -> None:
    migrate.upgrade(empty)
    migrate.upgrade(empty)
    assert migrate.at_head(empty)


def test_two_who_start_at_once_upgrade_one_after_the_other(empty: Engine) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(migrate.upgrade, [empty] * 4))
    assert migrate.at_head(empty)


def test_downgrading_leaves_nothing(empty: Engine) -> None:
    migrate.upgrade(empty)
    with empty.begin() as connection:
        command.downgrade(migrate._config(connection), "base")
    assert set(inspect(empty).get_table_names()) <= {"alembic_version"}
