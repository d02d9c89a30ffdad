from collections.abc import Callable

import pytest
from sqlalchemy import Engine, delete, select

from control.db.models import OutboxEntry, Run, RunEvent, RunLabel
from control.db.session import read_only, unit_of_work
from control.errors import InvalidRequest
from control.records.runs.labels import has_label


def found(engine: Engine, label: str) -> list[str]:
    with read_only(engine) as session:
        return sorted(session.scalars(select(Run.id).where(has_label(label))))


def test_runs_are_found_by_what_their_labels_are_now(engine: Engine, make_run: Callable[..., str]) -> None:
    one, two = make_run(labels={"team": "a", "due": "now"}), make_run(labels={"team": "b"})
    make_run()
    assert found(engine, "team") == sorted([one, two])
    assert found(engine, "team=a") == [one]
    assert found(engine, "due=") == []
    with unit_of_work(engine) as session:
        session.get_one(Run, one).labels = {"team": "b"}
        session.get_one(Run, two).name = "another"
    assert found(engine, "team=a") == found(engine, "due") == []
    assert found(engine, "team=b") == sorted([one, two])


def test_they_go_with_their_run(engine: Engine, make_run: Callable[..., str]) -> None:
    run_id = make_run(labels={"team": "a"})
    with unit_of_work(engine) as session:
        session.execute(delete(OutboxEntry))
        session.execute(delete(RunEvent).where(RunEvent.run_id == run_id))
        session.execute(delete(Run).where(Run.id == run_id))
        assert session.scalars(select(RunLabel.key)).all() == []


def test_a_key_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="label key"):
        has_label("two words=1")
