"""How sweeps stand and how their runs rank."""

from collections.abc import Callable

from sqlalchemy import Engine

from control.db.session import read_only, unit_of_work
from control.records.runs.actions import request_action
from control.records.sweeps.sweep_plans import SweepEvaluation
from control.records.sweeps.sweep_results import Line, Ranking, Standing, lines, standings
from control.records.sweeps.sweeps import cancel_sweep, evaluate_completed, get_sweep
from tests.unit.control.records.hands import Hands

KNN = SweepEvaluation(task="knn", dataset="labelled")
MONITOR = {"monitor.task": "knn", "monitor.dataset": "labelled", "monitor.every_epochs": 1}
MakeSweep = Callable[..., str]


def standing(engine: Engine, sweep_id: str) -> Standing:
    with read_only(engine) as session:
        return standings(session, [get_sweep(session, sweep_id)])[sweep_id]


def shown(engine: Engine, sweep_id: str) -> tuple[list[Line], Ranking | None]:
    with read_only(engine) as session:
        return lines(session, get_sweep(session, sweep_id))


def test_it_goes_from_queued_to_completed(engine: Engine, make_sweep: MakeSweep, hands: Hands) -> None:
    sweep_id = make_sweep(evaluate=KNN)
    before = standing(engine, sweep_id)
    assert (before.state, before.runs, before.evaluations) == ("queued", {"queued": 2}, {"waiting": 2})
    first = hands.take()
    assert standing(engine, sweep_id).runs == {"running": 1, "queued": 1}
    second = hands.take()
    for claim in (first, second):
        hands.save(claim, 1.0)
        hands.close(claim)
    assert (standing(engine, sweep_id).state, standing(engine, sweep_id).runs) == ("running", {"completed": 2})
    with unit_of_work(engine) as session:
        evaluate_completed(session)
    hands.score(top1=40.0)
    assert standing(engine, sweep_id).evaluations == {"completed": 1, "queued": 1}
    hands.score(top1=40.0)
    assert (standing(engine, sweep_id).state, standing(engine, sweep_id).reason) == ("completed", None)


def test_what_failed_or_was_cancelled_is_counted(engine: Engine, make_sweep: MakeSweep, hands: Hands) -> None:
    sweep_id = make_sweep(grid={"seed": [1, 2, 3]}, max_attempts=1)
    hands.fail(hands.take(), "it is too big")
    claim = hands.take()
    with unit_of_work(engine) as session:
        assert cancel_sweep(session, make_sweep(), "ada")
    assert standing(engine, sweep_id).state == "running"
    hands.save(claim, 1.0)
    hands.close(claim)
    last = hands.take()
    hands.fail(last, "it is too big")
    found = standing(engine, sweep_id)
    assert (found.state, found.reason) == ("completed", "of 3 runs: 2 failed")


def test_it_fails_when_all_of_it_fails_and_is_cancelled_when_asked(
    engine: Engine, make_sweep: MakeSweep, hands: Hands
) -> None:
    failed = make_sweep(grid={"seed": [1]}, max_attempts=1)
    hands.fail(hands.take(), "it is too big")
    assert standing(engine, failed).state == "failed"
    cancelled = make_sweep(evaluate=KNN)
    claim = hands.take()
    with unit_of_work(engine) as session:
        cancel_sweep(session, cancelled, "ada")
    assert standing(engine, cancelled).state == "cancelling"
    hands.close(claim, "stopped")
    assert (standing(engine, cancelled).state, standing(engine, cancelled).evaluations) == ("cancelled", {})
    paused = make_sweep(grid={"seed": [7]})
    with unit_of_work(engine) as session:
        (line,), _ = lines(session, get_sweep(session, paused))
        request_action(session, line.run, "pause", "ada")
    assert standing(engine, paused).state == "paused"


def test_evaluations_rank_the_runs_and_equal_ones_share(engine: Engine, make_sweep: MakeSweep, hands: Hands) -> None:
    sweep_id = make_sweep(evaluate=KNN, grid={"seed": [1, 2, 3, 4]})
    claims = [hands.take() for _ in range(4)]
    for claim in claims[:3]:
        hands.save(claim, 1.0)
        hands.close(claim)
    with unit_of_work(engine) as session:
        evaluate_completed(session)
    for top1 in (50.0, 70.0, 50.0):
        hands.score(top1=top1, top5=99.0)
    found, ranking = shown(engine, sweep_id)
    assert ranking == Ranking("evaluation", "knn", "top1")
    assert [(line.entry.number, line.score, line.rank) for line in found] == [
        (1, 50.0, 2),
        (2, 70.0, 1),
        (3, 50.0, 2),
        (4, None, None),
    ]


def test_without_evaluations_the_monitor_ranks(engine: Engine, make_sweep: MakeSweep, hands: Hands) -> None:
    sweep_id = make_sweep(overrides=MONITOR)
    claims = [hands.take(), hands.take()]
    for claim, scores in zip(claims, ((40.0, 30.0), (20.0, 35.0)), strict=True):
        hands.save(claim, 1.0, 2.0)
        for top1 in scores:
            hands.score(top1=top1)
    found, ranking = shown(engine, sweep_id)
    assert ranking == Ranking("monitor", "knn", "top1")
    assert [(line.score, line.rank, line.metrics["monitor/top1"]) for line in found] == [
        (40.0, 1, 30.0),
        (35.0, 2, 35.0),
    ]


def test_a_loss_ranks_nothing(engine: Engine, make_sweep: MakeSweep, hands: Hands) -> None:
    sweep_id = make_sweep()
    hands.measure(hands.take(), loss=3.5, lr=0.1)
    found, ranking = shown(engine, sweep_id)
    assert ranking is None
    assert [(line.metrics, line.rank) for line in found] == [({"loss": 3.5}, None), ({}, None)]
