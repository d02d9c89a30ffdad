import math
import sqlite3
import time
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from sqlalchemy import Engine, event, select, text
from sqlalchemy.exc import OperationalError, StatementError
from sqlalchemy.orm import Session
from sqlalchemy.orm.exc import StaleDataError

from control.db.models import AuditEntry, Dataset, Leader, Run
from control.db.session import database_time, open_engine, read_only, unit_of_work


def entry(**details: object) -> AuditEntry:
    return AuditEntry(actor="a", action="b", target="c", details=details)


def test_a_unit_of_work_is_all_or_nothing(engine: Engine) -> None:
    with unit_of_work(engine) as session:
        session.add(entry(n=1))
    with pytest.raises(RuntimeError), unit_of_work(engine) as session:  # noqa: PT012 - the work goes wrong
        session.add(entry(n=2))
        session.flush()
        raise RuntimeError
    with read_only(engine) as session:
        assert [found.details for found in session.scalars(select(AuditEntry))] == [{"n": 1}]


def test_objects_stay_readable_after_the_commit(engine: Engine) -> None:
    with unit_of_work(engine) as session:
        made = entry(n=1)
        session.add(made)
    assert (made.id > 0, made.details) == (True, {"n": 1})


def test_looking_commits_nothing(engine: Engine) -> None:
    with read_only(engine) as session:
        session.add(entry())
        session.flush()
    with read_only(engine) as session:
        assert session.scalars(select(AuditEntry)).all() == []


def test_the_databases_clock_is_utc_and_runs(engine: Engine) -> None:
    with unit_of_work(engine) as session:
        first = database_time(session)
        time.sleep(0.01)
        second = database_time(session)
    assert first.tzinfo is UTC
    assert timedelta(0) < second - first < timedelta(minutes=1)
    assert abs(datetime.now(UTC) - second) < timedelta(minutes=1)


def test_times_compare_across_zones_and_to_the_millisecond(engine: Engine) -> None:
    moment = datetime(2026, 1, 1, 12, 0, 0, 500_000, tzinfo=timezone(timedelta(hours=2)))
    with unit_of_work(engine) as session:
        session.add(Leader(duty="d", holder="h", expires_at=moment))
    with unit_of_work(engine) as session:
        stored = session.scalar(select(Leader.expires_at))
        assert stored == moment
        assert stored is not None
        assert stored.tzinfo is UTC
        earlier = select(Leader.duty).where(Leader.expires_at < moment.astimezone(UTC) + timedelta(milliseconds=1))
        assert session.scalar(earlier) == "d"
        assert session.scalar(select(Leader.duty).where(Leader.expires_at < moment)) is None


def test_text_that_a_database_cannot_keep_is_replaced(engine: Engine) -> None:
    with unit_of_work(engine) as session:
        session.add(entry(**{"k\0": ["a\0", {"b": "\udcff"}]}))
        session.add(Dataset(name="d", kind="images", uri="/\0/\udcff", root="/", created_by="x"))
    with unit_of_work(engine) as session:
        assert session.scalar(select(AuditEntry.details)) == {"k\ufffd": ["a\ufffd", {"b": "\ufffd"}]}
        assert session.scalar(select(Dataset.uri)) == "/\ufffd/\ufffd"
        assert session.get(Dataset, "d\0") is None


def test_nan_is_refused(engine: Engine) -> None:
    with (
        pytest.raises((StatementError, ValueError), match=r"not JSON compliant|Out of range"),
        unit_of_work(engine) as session,
    ):
        session.add(entry(value=math.nan))


def test_a_lost_update_is_an_error(engine: Engine) -> None:
    run = Run(kind="pretrain", queue="gpu", labels={}, spec={}, spec_digest="x", created_by="t", desired_state="run")
    with unit_of_work(engine) as session:
        session.add(run)
    with Session(engine) as late:
        seen = late.get_one(Run, run.id)
        late.expunge(seen)
    with unit_of_work(engine) as session:
        session.get_one(Run, run.id).priority = 1
    seen.priority = 2
    with pytest.raises(StaleDataError), unit_of_work(engine) as session:
        session.add(seen)


def test_writers_on_sqlite_take_turns_and_readers_do_not_wait(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path}/a.sqlite3")
    with unit_of_work(engine) as session:
        session.execute(text("CREATE TABLE t (n INTEGER)"))
    count = text("SELECT count(*) FROM t")
    order: list[str] = []
    entered, leave = Event(), Event()

    def first() -> None:
        with unit_of_work(engine) as session:
            session.execute(text("SELECT 1"))
            entered.set()
            leave.wait(10)
            session.execute(text("INSERT INTO t VALUES (1)"))
            order.append("first")

    def second() -> None:
        with unit_of_work(engine) as session:
            order.append(f"second sees {session.scalar(count)}")

    threads = [Thread(target=first), Thread(target=second)]
    threads[0].start()
    assert entered.wait(10)
    threads[1].start()
    with read_only(engine) as session:
        assert session.scalar(count) == 0
    leave.set()
    for thread in threads:
        thread.join()
    assert order == ["first", "second sees 1"]
    engine.dispose()


def test_a_sqlite_file_gets_its_folder_and_wal(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "a.sqlite3"
    engine = open_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
    engine.dispose()
    plain = sqlite3.connect(path)
    assert plain.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    plain.close()


def test_an_address_of_sqlites_own_makes_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OperationalError):
        open_engine(f"sqlite:///file:{tmp_path}/none/a.sqlite3?mode=ro&uri=true").connect()
    assert list(tmp_path.iterdir()) == []


def connection_words(url: str) -> dict[str, Any]:
    """What a driver would be told, were it asked to connect."""
    told: dict[str, Any] = {}
    engine = open_engine(url)

    @event.listens_for(engine, "do_connect")
    def note(_dialect: object, _record: object, _arguments: object, words: dict[str, Any]) -> None:
        told.update(words)
        raise InterruptedError

    with pytest.raises(InterruptedError):
        engine.connect()
    return told


def test_both_ends_of_a_connection_to_postgresql_soon_notice_that_the_other_is_cut_off() -> None:
    plain = connection_words("postgresql+psycopg://u@h/d")
    assert (plain["keepalives_idle"], plain["tcp_user_timeout"]) == (8, 20_000)
    assert "-c tcp_user_timeout=20000" in plain["options"]
    own = connection_words("postgresql+psycopg://u@h/d?keepalives_idle=60&options=-csearch_path%3Dx")
    assert (own["keepalives_idle"], own["options"], own["keepalives_count"]) == ("60", "-csearch_path=x", 3)
