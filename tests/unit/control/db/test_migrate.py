from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Connection,
    DateTime,
    Engine,
    Float,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    insert,
    inspect,
    make_url,
    select,
)

from control.db import migrate
from control.db.base import Base
from control.db.session import open_engine


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
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
        context = MigrationContext.configure(connection, opts={"compare_type": True, "include_object": is_comparable})
        assert compare_metadata(context, Base.metadata) == []
        kept = {
            "sqlite": "SELECT sql FROM sqlite_master WHERE name =",
            "postgresql": "SELECT indexdef FROM pg_indexes WHERE indexname =",
        }
        for index in ORDERED:
            made = connection.exec_driver_sql(f"{kept[empty.dialect.name]} '{index}'").scalar_one()
            assert "(queue, state, priority DESC, id)" in made
        assert "slots_wanted > 1" in made


ORDERED = ("ix_runs_most_urgent", "ix_runs_large")


def is_comparable(_found: object, name: str | None, kind: str, *_: object) -> bool:
    """SQLite does not tell the order of an index's columns: those where that counts are looked at by themselves."""
    return kind != "index" or name not in ORDERED


@pytest.mark.slow
def test_rows_of_every_earlier_revision_reach_the_newest_intact(empty: Engine) -> None:
    """At each revision every table gets a row with all of its columns; at the end all of them are there."""
    revisions = [script.revision for script in ScriptDirectory.from_config(migrate._config()).walk_revisions()]
    written: list[tuple[str, dict[str, Any]]] = []
    for n, revision in enumerate(reversed(revisions), 1):
        with empty.begin() as connection:
            command.upgrade(migrate._config(connection), revision)
        with empty.begin() as connection:
            written += fill(connection, n)
    tables = reflected(empty)
    with empty.connect() as connection:
        for name, row in written:
            there = {column: value for column, value in row.items() if column in tables[name].columns}
            keys = [column for column in tables[name].primary_key if column.name in there]
            found = connection.execute(select(tables[name]).where(*(key == there[key.name] for key in keys))).mappings()
            assert there.items() <= dict(found.one()).items(), (name, row)
        labelled = connection.execute(select(tables["run_labels"])).mappings().all()
    submitted = [row["id"] for name, row in written if name == "runs"]
    assert {row["run_id"] for row in labelled} == set(submitted)
    assert len({name for name, _ in written}) == len(tables)


def fill(connection: Connection, n: int) -> list[tuple[str, dict[str, Any]]]:
    """One row in every table there is; the table and the row of each."""
    written: list[tuple[str, dict[str, Any]]] = []
    rows: dict[str, dict[str, Any]] = {}
    for table in reflected(connection).values():
        row = {column.name: value_of(column, n, rows) for column in table.columns}
        connection.execute(insert(table), row)
        rows[table.name] = row
        written.append((table.name, row))
    return written


def value_of(column: Column[Any], n: int, rows: dict[str, dict[str, Any]]) -> Any:
    """A value of the column's type, another for each `n`; a reference names the row that is there."""
    for reference in column.foreign_keys:
        return rows[reference.column.table.name][reference.column.name]
    if isinstance(column.type, JSON):
        return {"n": str(n)}
    if isinstance(column.type, Boolean):
        return bool(n % 2)
    if isinstance(column.type, DateTime):
        zone = UTC if column.type.timezone else None
        return datetime(2026, 1, n, tzinfo=zone)
    if isinstance(column.type, LargeBinary):
        return b"%d" % n
    if isinstance(column.type, Integer):
        return n
    return n + 0.5 if isinstance(column.type, Float) else f"{column.name} {n}"


def reflected(where: Engine | Connection) -> dict[str, Table]:
    """The tables there are, in the order in which they can be filled."""
    found = MetaData()
    found.reflect(where)
    return {table.name: table for table in found.sorted_tables if table.name != "alembic_version"}


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
