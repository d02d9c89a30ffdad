from collections.abc import Callable
from datetime import UTC, datetime

from sqlalchemy import Engine, event

from control.db.session import unit_of_work
from control.records.journal.curves import Wanted, curves
from control.records.journal.metrics import Sample, latest, latest_of, record, rewind

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def values(engine: Engine, run_id: str) -> dict[str, dict[int, float]]:
    """By key and step."""
    with unit_of_work(engine) as session:
        found = curves(session, Wanted(runs=[run_id]))
    return {curve.key: dict(zip(curve.steps, curve.values, strict=True)) for curve in found}


def test_curves_and_extremes(engine: Engine, make_run: Callable[..., str]) -> None:
    run_id, other = make_run(), make_run()
    with unit_of_work(engine) as session:
        record(session, run_id, [Sample(step, {"loss": value, "lr": 0.1}, NOW) for step, value in ((1, 3.0), (2, 9.0))])
        record(session, run_id, [Sample(3, {"loss": 5.0}, NOW)])
        record(session, other, [Sample(1, {"loss": 1.0}, NOW)])
        record(session, run_id, [])
    assert values(engine, run_id) == {"loss": {1: 3.0, 2: 9.0, 3: 5.0}, "lr": {1: 0.1, 2: 0.1}}
    with unit_of_work(engine) as session:
        loss = latest(session, run_id)["loss"]
        assert (loss.step, loss.value, loss.lowest, loss.highest) == (3, 5.0, 3.0, 9.0)
        of_both = latest_of(session, [other, run_id, "run_none"])
        assert {key: list(rows) for key, rows in of_both.items()} == {
            other: ["loss"],
            run_id: ["loss", "lr"],
            "run_none": [],
        }


def test_a_step_passed_again_is_replaced(engine: Engine, make_run: Callable[..., str]) -> None:
    run_id = make_run()
    for value in (3.0, 4.0):
        with unit_of_work(engine) as session:
            record(session, run_id, [Sample(1, {"loss": value}, NOW), Sample(1, {"loss": value}, NOW)])
    assert values(engine, run_id) == {"loss": {1: 4.0}}
    with unit_of_work(engine) as session:
        assert latest(session, run_id)["loss"].value == 4.0


def test_an_attempt_forgets_what_it_will_say_again(engine: Engine, make_run: Callable[..., str]) -> None:
    run_id, other = make_run(), make_run()
    with unit_of_work(engine) as session:
        for run in (run_id, other):
            record(session, run, [Sample(s, {"loss": float(s), "lr": 1.0} if s < 3 else {"loss": 9.0 - s}, NOW)
                                  for s in range(6)])  # fmt: skip
    with unit_of_work(engine) as session:
        rewind(session, run_id, 2)
    assert values(engine, run_id) == {"loss": {0: 0.0, 1: 1.0, 2: 2.0}, "lr": {0: 1.0, 1: 1.0, 2: 1.0}}
    with unit_of_work(engine) as session:
        loss = latest(session, run_id)["loss"]
        assert (loss.step, loss.value, loss.lowest, loss.highest) == (2, 2.0, 0.0, 2.0)
        rewind(session, run_id, -1)
    assert values(engine, run_id) == {}
    with unit_of_work(engine) as session:
        assert latest(session, run_id) == {}
        assert latest(session, other)["loss"].step == 5


def test_a_batch_takes_a_handful_of_statements(engine: Engine, make_run: Callable[..., str]) -> None:
    run_id = make_run()
    samples = [Sample(step, {f"key/{n}": 1.0 for n in range(40)}, NOW) for step in range(50)]
    for first in (0, 50):  # the second time the newest values are there already
        said: list[str] = []

        def note(_connection: object, _cursor: object, statement: str, *_: object, said: list[str] = said) -> None:
            said.append(statement)

        event.listen(engine, "before_cursor_execute", note)
        with unit_of_work(engine) as session:
            record(session, run_id, [Sample(s.step + first, s.values, NOW) for s in samples])
        event.remove(engine, "before_cursor_execute", note)
        assert len([line for line in said if "BEGIN" not in line]) <= 4, said
