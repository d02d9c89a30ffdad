"""Writers of one engine take turns, those of several share the file, and no end of a transaction keeps the turn."""

import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Engine, event, text
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.orm import Session

from control.db.session import open_engine, read_only, unit_of_work
from control.db.sqlite import Connected

TABLES = ("CREATE TABLE n (n INTEGER)", "INSERT INTO n VALUES (0)", "CREATE TABLE m (m INTEGER REFERENCES p (p))")
COUNT = text("SELECT n FROM n")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "a.sqlite3"


@pytest.fixture
def opened(file: Path) -> Iterator[Callable[[], Engine]]:
    """Opens the file: each engine is to the others as that of another process."""
    engines: list[Engine] = []

    def open_one() -> Engine:
        engines.append(open_engine(f"sqlite:///{file}"))
        return engines[-1]

    with unit_of_work(open_one()) as session:
        for statement in ("CREATE TABLE p (p INTEGER PRIMARY KEY)", *TABLES):
            session.execute(text(statement))
    yield open_one
    for engine in engines:
        engine.dispose()


@pytest.fixture
def engine(opened: Callable[[], Engine]) -> Engine:
    return opened()


def count_on(engine: Engine) -> None:
    """Lost, were two to read before either writes."""
    with unit_of_work(engine) as session:
        seen = session.scalar(COUNT)
        session.execute(text("UPDATE n SET n = :n"), {"n": seen + 1})


def driver_of(session: Session) -> Connected:
    driver = session.connection().connection.driver_connection
    assert isinstance(driver, Connected)
    return driver


def turn_is_free(engine: Engine) -> bool:
    with read_only(engine) as session:
        turns = driver_of(session).turns
        free = turns.take(0)
        if free:
            turns.pass_on()
        return free


def impatient(engine: Engine) -> Engine:
    event.listen(engine, "connect", lambda driver, _: driver.execute("PRAGMA busy_timeout=10"))
    return engine


def test_all_writers_get_in_and_none_undoes_another(opened: Callable[[], Engine]) -> None:
    engines = [opened(), opened()]
    with ThreadPoolExecutor(8) as threads:
        for done in [threads.submit(count_on, engines[number % 2]) for number in range(60)]:
            done.result()
    with read_only(engines[0]) as session:
        assert session.scalar(COUNT) == 60
    assert [turn_is_free(engine) for engine in engines] == [True, True]


def test_the_turn_lasts_as_long_as_the_transaction(engine: Engine) -> None:
    with unit_of_work(engine) as session:
        assert turn_is_free(engine)  # nothing has begun
        session.execute(COUNT)
        assert not turn_is_free(engine)
    assert turn_is_free(engine)
    with engine.begin() as connection:  # as migrations do it
        connection.execute(COUNT)
        assert not turn_is_free(engine)
    assert turn_is_free(engine)


def test_a_transaction_may_end_in_another_thread(engine: Engine) -> None:
    session = Session(engine)
    session.execute(text("UPDATE n SET n = 7"))
    with ThreadPoolExecutor(1) as thread:
        thread.submit(session.commit).result()
    assert turn_is_free(engine)


def test_work_that_fails_passes_its_turn_on(engine: Engine) -> None:
    with pytest.raises(RuntimeError), unit_of_work(engine) as session:  # noqa: PT012 - the work goes wrong
        session.execute(text("UPDATE n SET n = 7"))
        raise RuntimeError
    assert turn_is_free(engine)


def test_a_commit_that_fails_passes_its_turn_on(engine: Engine) -> None:
    with pytest.raises(IntegrityError), unit_of_work(engine) as session:  # noqa: PT012 - only the commit fails
        session.execute(text("PRAGMA defer_foreign_keys=ON"))
        session.execute(text("INSERT INTO m VALUES (1)"))
    assert turn_is_free(engine)
    count_on(engine)


def test_a_connection_that_is_given_up_passes_its_turn_on(engine: Engine) -> None:
    with Session(engine) as session:
        session.execute(text("UPDATE n SET n = 7"))
        session.invalidate()
    assert turn_is_free(engine)
    count_on(engine)


def test_a_file_that_another_process_keeps_is_an_error_of_the_database(engine: Engine, file: Path) -> None:
    impatient(engine)
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(OperationalError, match="database is locked"):
            count_on(engine)
        assert turn_is_free(engine)
        other.execute("ROLLBACK")
    count_on(engine)


def test_work_within_work_is_refused_and_the_outer_one_goes_on(engine: Engine) -> None:
    impatient(engine)
    with unit_of_work(engine) as session:
        session.execute(text("UPDATE n SET n = 7"))
        with pytest.raises(OperationalError, match="database is locked"):
            count_on(engine)
        assert not turn_is_free(engine)
    with read_only(engine) as session:
        assert session.scalar(COUNT) == 7
    assert turn_is_free(engine)


def test_the_patience_of_a_connection_stays_as_it_was_set(engine: Engine) -> None:
    with unit_of_work(engine) as session:
        session.execute(text("PRAGMA busy_timeout=1234"))
    count_on(engine)
    with read_only(engine) as session:
        assert session.scalar(text("PRAGMA busy_timeout")) == 1234
