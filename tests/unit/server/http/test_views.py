"""Lists ask the database as often for many runs as for a few."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event

from control.db.migrate import upgrade
from control.db.models import MetricLatest, Run, RunEvent
from control.db.session import open_engine, read_only, unit_of_work
from control.records.runs.runs import list_runs
from control.records.runs.submission import NewRun, create_run
from server.http.views import shown_evaluations, shown_run, shown_runs


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    engine = open_engine(f"sqlite:///{tmp_path}/detco.sqlite3")
    upgrade(engine)
    return engine


def submit(engine: Engine, count: int) -> None:
    with unit_of_work(engine) as session:
        for n in range(count):
            new = NewRun(kind="pretrain", spec={"config": {}, "gpus": 1}, actor="test")
            run = create_run(session, new)
            evaluation = {"task": "knn", "source": {}, "options": {}, "seed": 0}
            create_run(session, NewRun(kind="evaluate", spec=evaluation, actor="test"))
            session.add(MetricLatest(run_id=run.id, key="loss", step=n, value=n, lowest=n, highest=n))
            for message in ("first", "last"):
                payload: dict[str, Any] = {"code": "collapse", "message": message, "details": {}}
                session.add(RunEvent(run_id=run.id, fence=0, type="warning", payload=payload, time=run.created_at))


def asked(engine: Engine, show: Callable[[], object]) -> int:
    said: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        said.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    show()
    event.remove(engine, "before_cursor_execute", note)
    return len(said)


def test_many_runs_cost_as_many_questions_as_two(engine: Engine) -> None:
    def show() -> None:
        with read_only(engine) as session:
            shown_runs(session, list_runs(session, ("pretrain",)).items)
            shown_evaluations(session, list_runs(session, ("evaluate",)).items)

    submit(engine, 2)
    few = asked(engine, show)
    submit(engine, 20)
    assert asked(engine, show) == few


def test_a_run_in_a_list_is_the_run_by_itself(engine: Engine) -> None:
    submit(engine, 3)
    with read_only(engine) as session:
        runs = list_runs(session, ("pretrain",)).items
        assert shown_runs(session, runs) == [shown_run(session, session.get_one(Run, run.id)) for run in runs]
        (warning,) = shown_runs(session, runs)[0].warnings
        assert (warning.message, warning.count) == ("last", 2)
