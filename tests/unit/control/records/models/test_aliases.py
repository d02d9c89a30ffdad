from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Engine

from control.db.models import Model, ModelVersion
from control.db.session import unit_of_work
from control.errors import NotFound, NotReady, StaleVersion
from control.records.models.aliases import get_alias, history, list_aliases, resolve, resolve_ready, set_alias


@pytest.fixture(autouse=True)
def versions(engine: Engine) -> None:
    """net:1, net:2 and net:3 are ready, net:4 is exporting; nothing else exists."""
    with unit_of_work(engine) as session:
        session.add(Model(name="net", last_number=4, created_by="t"))
        session.flush()
        for number in range(1, 5):
            state = "ready" if number < 4 else "exporting"
            session.add(ModelVersion(model="net", number=number, state=state, formats=[], created_by="t"))


def move(engine: Engine, number: int, expected: int | None = None, alias: str = "production") -> int:
    with unit_of_work(engine) as session:
        return set_alias(session, "net", alias, number, "tester", expected).version


def test_an_alias_moves_and_remembers(engine: Engine) -> None:
    assert [move(engine, number) for number in (1, 2, 2, 1)] == [1, 2, 2, 3]
    with unit_of_work(engine) as session:
        assert [(moved.from_number, moved.to_number) for moved in history(session, "net", "production").items] == [
            (2, 1),
            (1, 2),
            (None, 1),
        ]
        assert [(alias.name, alias.number) for alias in list_aliases(session)] == [("production", 1)]
        assert list_aliases(session, "none") == []


def test_compare_and_set(engine: Engine) -> None:
    assert move(engine, 1, expected=0) == 1
    with pytest.raises(StaleVersion, match="net@production is at version 1, not 0") as caught:
        move(engine, 2, expected=0)
    assert caught.value.current == 1
    assert move(engine, 2, expected=1) == 2
    with pytest.raises(StaleVersion):
        move(engine, 3, expected=1)


@pytest.mark.parametrize("expected", [0, 1])
def test_of_many_who_saw_the_same_one_wins(engine: Engine, expected: int) -> None:
    if expected:
        move(engine, 1)

    def attempt(number: int) -> bool:
        try:
            move(engine, 2 + number % 2, expected=expected)
        except StaleVersion:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(attempt, range(8))) == 1
    with unit_of_work(engine) as session:
        assert len(history(session, "net", "production").items) == 1 + expected


def test_only_a_ready_version_is_promoted(engine: Engine) -> None:
    with pytest.raises(NotReady, match="net:4 is exporting"):
        move(engine, 4)
    with pytest.raises(NotFound):
        move(engine, 5)


def test_references(engine: Engine) -> None:
    move(engine, 2)
    move(engine, 1, alias="staging")
    with unit_of_work(engine) as session:
        found = {ref: resolve(session, ref).number for ref in ("net", "net@production", "net@staging", "net:3")}
        assert found == {"net": 2, "net@production": 2, "net@staging": 1, "net:3": 3}
        for wrong in ("none", "net@none", "net:9", "net:0", "net:x", "net:", "net@", "", "net:1@production"):
            with pytest.raises(NotFound):
                resolve(session, wrong)
        with pytest.raises(NotReady, match="net:4 is exporting"):
            resolve_ready(session, "net:4")
        assert resolve_ready(session, "net:1").number == 1
        with pytest.raises(NotFound, match="net@none"):
            get_alias(session, "net", "none")
