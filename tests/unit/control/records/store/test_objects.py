from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import Engine, update

from control.db.base import Base
from control.db.models import Artifact, StoredObject
from control.db.session import unit_of_work
from control.errors import BeingRemoved
from control.records.store import objects
from control.records.store.objects import REFERENCES

KEY, OTHER = "sha256/ab/" + "ab" * 32, "sha256/cd/" + "cd" * 32


@pytest.fixture
def need(engine: Engine, make_run: Callable[..., str]) -> Callable[..., str]:
    """A row that needs an object; returns its id: `need(KEY)`."""
    run_id = make_run()
    names = iter("abcdefgh")

    def make(key: str) -> str:
        with unit_of_work(engine) as session:
            objects.hold(session, key, 7)
            row = Artifact(run_id=run_id, fence=1, name=next(names), bytes=7, digest="d", key=key, created_by="t")
            session.add(row)
            session.flush()
            return row.id

    return make


def let_go(engine: Engine, row_id: str, key: str) -> None:
    with unit_of_work(engine) as session:
        session.delete(session.get_one(Artifact, row_id))
        objects.doom(session, [key])


def state(engine: Engine, key: str) -> str | None:
    with unit_of_work(engine) as session:
        row = session.get(StoredObject, key)
        return row.state if row else None


def begin(engine: Engine) -> dict[str, int]:
    with unit_of_work(engine) as session:
        return objects.begin_removal(session)


def test_what_nothing_needs_is_removed_in_two_steps(engine: Engine, need: Callable[..., str]) -> None:
    row = need(KEY)
    assert begin(engine) == {}
    let_go(engine, row, KEY)
    assert state(engine, KEY) == "doomed"
    assert begin(engine) == {KEY: 7}
    assert state(engine, KEY) == "removing"
    assert begin(engine) == {}  # it is another's
    with unit_of_work(engine) as session:
        objects.end_removal(session, [KEY])
    assert state(engine, KEY) is None


def test_what_another_row_needs_stays(engine: Engine, need: Callable[..., str]) -> None:
    row, _ = need(KEY), need(KEY)
    let_go(engine, row, KEY)
    assert begin(engine) == {}
    assert state(engine, KEY) == "stored"


def test_what_is_stored_again_before_it_is_looked_at_stays(engine: Engine, need: Callable[..., str]) -> None:
    let_go(engine, need(KEY), KEY)
    need(KEY)
    assert state(engine, KEY) == "stored"
    assert begin(engine) == {}


def test_what_is_being_removed_cannot_be_taken_up(engine: Engine, need: Callable[..., str]) -> None:
    let_go(engine, need(KEY), KEY)
    begin(engine)
    with pytest.raises(BeingRemoved, match="store it again"):
        need(KEY)
    with unit_of_work(engine) as session:
        objects.end_removal(session, [KEY])
    need(KEY)
    assert state(engine, KEY) == "stored"


def test_a_removal_that_was_not_ended_is_taken_over(engine: Engine, need: Callable[..., str]) -> None:
    let_go(engine, need(KEY), KEY)
    begin(engine)
    with unit_of_work(engine) as session:
        assert not objects.any_to_remove(session)
        session.get_one(StoredObject, KEY).changed_at -= objects.TAKE_OVER + timedelta(seconds=1)
    assert begin(engine) == {KEY: 7}


def test_one_who_registers_and_one_who_removes_never_both_win(engine: Engine, need: Callable[..., str]) -> None:
    """The write skew that two looks at each other's table would allow."""
    for _ in range(4):
        let_go(engine, need(KEY), KEY)
        with ThreadPoolExecutor(2) as pool:
            removal = pool.submit(begin, engine)
            registered = pool.submit(need, KEY)
            removed = removal.result()
            refused = registered.exception()
        assert bool(removed) == isinstance(refused, BeingRemoved)
        with unit_of_work(engine) as session:
            objects.end_removal(session, removed)
            session.execute(update(StoredObject).values(state="stored"))
            session.query(Artifact).delete()


def test_orphans_are_those_no_table_knows(engine: Engine, need: Callable[..., str]) -> None:
    need(KEY)
    with unit_of_work(engine) as session:
        assert objects.unknown(session, [KEY, OTHER]) == {OTHER}
        assert objects.begin_orphans(session, {OTHER: 3, KEY: 7}) == {OTHER: 3}
        objects.end_removal(session, [OTHER])
        assert objects.totals(session) == {"stored": (1, 7)}


def test_damage_is_remembered_until_it_is_stored_again(engine: Engine, need: Callable[..., str]) -> None:
    need(KEY)
    with unit_of_work(engine) as session:
        objects.report_damage(session, KEY, "other bytes")
        objects.report_damage(session, KEY, "once more")
    with unit_of_work(engine) as session:
        (found,) = objects.list_damaged(session)
        assert (found.key, found.damage) == (KEY, "other bytes")
    need(KEY)
    with unit_of_work(engine) as session:
        assert objects.list_damaged(session) == []


def columns_that_hold_keys() -> Iterator[str]:
    for table in Base.metadata.tables.values():
        for column in table.columns:
            if column.name == "key" or column.name.endswith("_key"):
                yield f"{table.name}.{column.name}"


NOT_THE_STORES = {
    "objects.key": "the object itself",
    "metrics.key": "a metric's name",
    "metric_latest.key": "a metric's name",
    "run_labels.key": "a person's word",
    "idempotency_keys.key": "a caller's word",
}


def test_every_column_that_holds_a_key_counts() -> None:
    """A new one must be in `REFERENCES`, or what it points at is deleted."""
    known = {f"{column.class_.__tablename__}.{column.key}" for column in REFERENCES}
    assert known <= set(columns_that_hold_keys())
    assert set(columns_that_hold_keys()) - known == set(NOT_THE_STORES)
