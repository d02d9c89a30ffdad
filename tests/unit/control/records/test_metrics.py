from collections.abc import Callable
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine

from control.db.session import unit_of_work
from control.records.metrics import Point, Sample, _thin, latest, record, series

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_curves_and_extremes(engine: Engine, make_run: Callable[..., str]) -> None:
    run_id, other = make_run(), make_run()
    with unit_of_work(engine) as session:
        record(session, run_id, [Sample(step, {"loss": value, "lr": 0.1}, NOW) for step, value in ((1, 3.0), (2, 9.0))])
        record(session, run_id, [Sample(3, {"loss": 5.0}, NOW)])
        record(session, other, [Sample(1, {"loss": 1.0}, NOW)])
        record(session, run_id, [])
    with unit_of_work(engine) as session:
        loss = latest(session, run_id)["loss"]
        assert (loss.step, loss.value, loss.lowest, loss.highest) == (3, 5.0, 3.0, 9.0)
        assert series(session, run_id) == {
            "loss": [Point(1, 3.0), Point(2, 9.0), Point(3, 5.0)],
            "lr": [Point(1, 0.1), Point(2, 0.1)],
        }
        assert series(session, run_id, ["lr"], after_step=1) == {"lr": [Point(2, 0.1)]}


def test_a_step_passed_again_is_replaced(engine: Engine, make_run: Callable[..., str]) -> None:
    run_id = make_run()
    for value in (3.0, 4.0):
        with unit_of_work(engine) as session:
            record(session, run_id, [Sample(1, {"loss": value}, NOW), Sample(1, {"loss": value}, NOW)])
    with unit_of_work(engine) as session:
        assert series(session, run_id) == {"loss": [Point(1, 4.0)]}
        assert latest(session, run_id)["loss"].value == 4.0


@given(st.integers(0, 300), st.integers(1, 50))
def test_thinning_keeps_the_end_and_the_bound(length: int, points: int) -> None:
    curve = [Point(step, 0.0) for step in range(length)]
    thinned = _thin(curve, points)
    assert len(thinned) <= points
    assert thinned == sorted(thinned, key=lambda point: point.step)
    assert set(thinned) <= set(curve)
    assert thinned[-1:] == curve[-1:]
    assert len(thinned) >= min(length, (points + 1) // 2)
