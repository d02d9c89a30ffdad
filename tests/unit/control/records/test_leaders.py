from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import Engine

from control.db.session import unit_of_work
from control.records.leaders import lead, resign


def take(engine: Engine, holder: str, seconds: float = 60.0, duty: str = "upkeep") -> bool:
    with unit_of_work(engine) as session:
        return lead(session, duty, holder, seconds)


def test_one_holds_a_duty_until_it_resigns_or_lapses(engine: Engine) -> None:
    assert take(engine, "a")
    assert take(engine, "a")
    assert not take(engine, "b")
    assert take(engine, "b", duty="another")
    with unit_of_work(engine) as session:
        resign(session, "upkeep", "b")
    assert not take(engine, "b")
    with unit_of_work(engine) as session:
        resign(session, "upkeep", "a")
    assert take(engine, "b", seconds=-1)
    assert take(engine, "a")


def test_of_many_at_once_one_leads(engine: Engine) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(lambda number: take(engine, str(number)), range(8))) == 1
