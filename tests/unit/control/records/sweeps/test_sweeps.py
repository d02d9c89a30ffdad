"""A sweep's runs are made together, evaluated once each, and cancelled together."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Engine, select, update

from control.db.models import DatasetVersion, Run, Sweep, SweepRun
from control.db.session import read_only, unit_of_work
from control.errors import NotFound
from control.records.paging import Page
from control.records.sweeps.sweep_plans import SweepEvaluation
from control.records.sweeps.sweeps import cancel_sweep, evaluate_completed, get_sweep, list_sweeps
from tests.unit.control.records.hands import Hands

KNN = SweepEvaluation(task="knn", dataset="labelled", options={"k": 5}, seed=3)
BEST = SweepEvaluation(task="knn", dataset="labelled", checkpoint="best")
MONITOR = {"monitor.task": "knn", "monitor.dataset": "labelled", "monitor.every_epochs": 1}
MakeSweep = Callable[..., str]


def follow(engine: Engine) -> list[str]:
    with unit_of_work(engine) as session:
        return evaluate_completed(session)


def members(engine: Engine, kind: str = "pretrain") -> list[Run]:
    with read_only(engine) as session:
        return list(session.scalars(select(Run).where(Run.kind == kind).order_by(Run.id)))


def test_its_runs_are_a_group_and_carry_what_they_vary(engine: Engine, make_sweep: MakeSweep) -> None:
    sweep_id = make_sweep(name="night", labels={"team": "a"}, priority=4, overrides={"train.steps": 9})
    runs = members(engine)
    assert {run.group for run in runs} == {sweep_id}
    assert [run.name for run in runs] == ["night seed=1", "night seed=2"]
    assert [run.labels for run in runs] == [{"team": "a", "seed": "1"}, {"team": "a", "seed": "2"}]
    assert [(run.spec["config"]["seed"], run.spec["config"]["train"]["steps"]) for run in runs] == [(1, 9), (2, 9)]
    assert {(run.state, run.priority, run.created_by) for run in runs} == {("queued", 4, "ada")}
    with read_only(engine) as session:
        entries = session.scalars(select(SweepRun).order_by(SweepRun.number)).all()
        assert [(entry.number, entry.run_id, entry.overrides) for entry in entries] == [
            (1, runs[0].id, {"seed": 1}),
            (2, runs[1].id, {"seed": 2}),
        ]
        assert get_sweep(session, sweep_id).varied == ["seed"]
        with pytest.raises(NotFound, match="sweep 'swp_none'"):
            get_sweep(session, "swp_none")


def test_sweeps_are_listed_by_page_and_group(engine: Engine, make_sweep: MakeSweep) -> None:
    made = [make_sweep(group="g"), make_sweep(), make_sweep(group="g")]
    with read_only(engine) as session:
        assert [sweep.id for sweep in list_sweeps(session).items] == made[::-1]
        assert [sweep.id for sweep in list_sweeps(session, "g").items] == [made[2], made[0]]
        first = list_sweeps(session, page=Page(2))
        assert [sweep.id for sweep in list_sweeps(session, page=Page(2, first.next_page_token)).items] == [made[0]]


def test_completed_runs_are_evaluated_once(engine: Engine, make_sweep: MakeSweep, hands: Hands) -> None:
    make_sweep(evaluate=KNN)
    first, second = hands.take(), hands.take()
    hands.save(first, 1.0, 2.0)
    assert follow(engine) == []
    hands.close(first)
    (made,) = follow(engine)
    assert follow(engine) == []
    (evaluation,) = members(engine, "evaluate")
    assert (evaluation.id, evaluation.labels, evaluation.created_by) == (made, {"seed": "1"}, "ada")
    assert (evaluation.spec["options"]["k"], evaluation.spec["seed"]) == (5, 3)
    assert evaluation.spec["source"]["run"] == first.run_id
    hands.save(second, 1.0)
    hands.close(second)
    assert len(follow(engine)) == 1


def test_leaders_at_once_make_no_second_evaluation(engine: Engine, make_sweep: MakeSweep, hands: Hands) -> None:
    make_sweep(evaluate=KNN)
    for _ in range(2):
        claim = hands.take()
        hands.save(claim, 1.0)
        hands.close(claim)
    with ThreadPoolExecutor(4) as pool:
        made = [one for found in pool.map(follow, [engine] * 4) for one in found]
    assert len(made) == 2
    assert sorted(made) == [run.id for run in members(engine, "evaluate")]


def test_a_run_that_fails_is_not_evaluated_and_stops_no_other(
    engine: Engine, make_sweep: MakeSweep, hands: Hands
) -> None:
    make_sweep(evaluate=KNN, max_attempts=1)
    hands.fail(hands.take(), "it is too big")
    second = hands.take()
    hands.save(second, 1.0)
    hands.close(second)
    assert len(follow(engine)) == 1
    with read_only(engine) as session:
        assert session.scalars(select(SweepRun).where(SweepRun.waits)).all() == []


def test_the_best_is_evaluated_when_the_monitor_has_seen_all(
    engine: Engine, make_sweep: MakeSweep, hands: Hands
) -> None:
    make_sweep(evaluate=BEST, overrides=MONITOR, grid={"seed": [1]})
    claim = hands.take()
    hands.save(claim, 1.0, 2.0)
    hands.close(claim)
    hands.score(top1=60.0)
    assert follow(engine) == []
    hands.score(top1=50.0)
    (made,) = follow(engine)
    *watching, evaluation = members(engine, "evaluate")
    assert evaluation.id == made
    assert evaluation.spec["source"] == watching[0].spec["source"]


def test_an_evaluation_that_cannot_be_made_says_why(engine: Engine, make_sweep: MakeSweep, hands: Hands) -> None:
    make_sweep(evaluate=KNN, grid={"seed": [1]})
    claim = hands.take()
    hands.save(claim, 1.0)
    hands.close(claim)
    with unit_of_work(engine) as session:
        session.execute(update(DatasetVersion).values(state="failed", reason="the disk is gone"))
    assert follow(engine) == []
    with read_only(engine) as session:
        entry = session.scalars(select(SweepRun)).one()
    assert (entry.waits, "the disk is gone" in str(entry.reason)) == (False, True)


def test_cancelling_ends_all_that_goes_on(engine: Engine, make_sweep: MakeSweep, hands: Hands) -> None:
    sweep_id = make_sweep(evaluate=KNN, grid={"seed": [1, 2, 3]})
    done = hands.take()
    hands.save(done, 1.0)
    hands.close(done)
    follow(engine)
    running = hands.take()
    with unit_of_work(engine) as session:
        cancelled = cancel_sweep(session, sweep_id, "ada")
    assert len(cancelled) == 3
    assert [run.state for run in members(engine)] == ["completed", "cancelling", "cancelled"]
    assert [run.state for run in members(engine, "evaluate")] == ["cancelled"]
    hands.save(running, 1.0)
    hands.close(running)
    assert follow(engine) == []
    with unit_of_work(engine) as session:
        before = session.get_one(Sweep, sweep_id).cancelled_at
        assert cancel_sweep(session, sweep_id, "ada") == []
        assert session.get_one(Sweep, sweep_id).cancelled_at == before
        with pytest.raises(NotFound):
            cancel_sweep(session, "swp_none", "ada")
