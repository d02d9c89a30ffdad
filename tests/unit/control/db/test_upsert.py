from sqlalchemy import Engine, select

from control.db.models import Leader
from control.db.session import database_time, unit_of_work
from control.db.upsert import insert_if_absent


def test_the_first_stays(engine: Engine) -> None:
    with unit_of_work(engine) as session:
        values = {"duty": "d", "expires_at": database_time(session)}
        assert insert_if_absent(session, Leader, {**values, "holder": "first"})
        assert not insert_if_absent(session, Leader, {**values, "holder": "second"})
        assert session.scalars(select(Leader.holder)).all() == ["first"]
