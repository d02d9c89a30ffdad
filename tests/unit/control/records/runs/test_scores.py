"""Scores make the run's curve and its best checkpoint; where there is none, a person is told."""

from sqlalchemy import select

from control.db.models import Run
from control.db.session import read_only, unit_of_work
from control.records.journal import metrics
from control.records.journal.curves import Wanted, curves
from control.records.journal.history import best_checkpoint
from control.records.runs.actions import request_action
from tests.unit.control.records.watched import Watched


def test_scores_make_the_curve_and_the_best(watched: Watched) -> None:
    claim = watched.take()
    watched.save(claim, 2.0, 4.0, 6.0)
    assert watched.awaited() == 3
    for top1 in (40.0, 55.0, 50.0):
        watched.score(top1=top1, top5=90.0)
    assert watched.awaited() == 0
    with read_only(watched.engine) as session:
        best = best_checkpoint(session, session.get_one(Run, watched.run_id))
        assert best is not None
        assert (best.step, best.score) == (40, 55.0)
        metrics.rewind(session, watched.run_id, 20)
        (curve,) = curves(session, Wanted(runs=[watched.run_id], keys=["monitor/top1"]))
    assert (list(curve.steps), list(curve.values)) == ([20, 40, 60], [40.0, 55.0, 50.0])
    told = [event.payload for event in watched.told("score")]
    assert [(one["step"], one["score"], one["is_best"]) for one in told] == [
        (20, 40.0, True),
        (40, 55.0, True),
        (60, 50.0, False),
    ]
    assert told[0]["scores"] == {"top1": 40.0, "top5": 90.0}


def test_a_report_without_the_metric_and_a_cancelled_evaluation_are_told(watched: Watched) -> None:
    claim = watched.take()
    watched.save(claim, 2.0, 4.0)
    watched.score(top5=90.0)
    with unit_of_work(watched.engine) as session:
        waiting = session.scalars(select(Run).where(Run.kind == "evaluate", Run.state == "queued")).one()
        request_action(session, waiting, "cancel", "ada")
    told = [event.payload["message"] for event in watched.told("warning")]
    assert ["its report has no top1" in told[0], "cancel by ada" in told[1]] == [True, True]
    assert watched.awaited() == 0
