"""A sweep goes with its runs and evaluations, or not at all."""

from collections.abc import Callable

import pytest
from sqlalchemy import Engine, select

from control.db.models import Checkpoint, Deletion, Run, StoredObject, Sweep, SweepRun
from control.db.session import read_only, unit_of_work
from control.errors import InUse, NotFound
from control.records.runs import checkpoints, purges
from control.records.runs.actions import request_action
from control.records.runs.deleting import delete_run
from control.records.store.removals import Removed
from control.records.sweeps.deleting_sweeps import delete_sweep
from control.records.sweeps.sweep_plans import SweepEvaluation
from control.records.sweeps.sweeps import cancel_sweep, evaluate_completed, get_sweep
from tests.unit.control.records.hands import Hands

KNN = SweepEvaluation(task="knn", dataset="labelled")
MakeSweep = Callable[..., str]


def delete(engine: Engine, sweep_id: str, *, dry_run: bool = False) -> Removed:
    with unit_of_work(engine) as session:
        return delete_sweep(session, sweep_id, "ada", dry_run=dry_run)


def jobs(engine: Engine, kind: str) -> list[Run]:
    with read_only(engine) as session:
        return list(session.scalars(select(Run).where(Run.kind == kind).order_by(Run.id)))


def train(hands: Hands, *epochs: float) -> str:
    claim = hands.take()
    hands.save(claim, *epochs)
    hands.close(claim)
    return claim.run_id


def test_it_goes_with_its_runs_and_evaluations(engine: Engine, make_sweep: MakeSweep, hands: Hands) -> None:
    sweep_id, other = make_sweep(evaluate=KNN), make_sweep(grid={"seed": [1]})
    train(hands, 1.0, 2.0)
    train(hands, 2.0)
    with unit_of_work(engine) as session:
        assert len(evaluate_completed(session)) == 2
    hands.score(top1=50.0)
    hands.score(top1=60.0)

    planned = delete(engine, sweep_id, dry_run=True)
    assert (planned.target, planned.derived, planned.bytes) == (sweep_id, (), 20)
    with read_only(engine) as session:
        assert len(session.scalars(select(SweepRun).where(SweepRun.sweep_id == sweep_id)).all()) == 2
        assert get_sweep(session, sweep_id).cancelled_at is None
    assert delete(engine, sweep_id) == delete(engine, sweep_id) == planned

    with unit_of_work(engine) as session:
        assert [sweep.id for sweep in session.scalars(select(Sweep))] == [other]
        assert session.scalars(select(SweepRun).where(SweepRun.sweep_id == sweep_id)).all() == []
        left = session.scalars(select(Run).where(Run.deleted_at.is_(None), Run.kind != "check")).all()
        assert [run.group for run in left] == [other]
        assert set(session.scalars(select(Checkpoint.state))) == {"deleting"}
        assert set(session.scalars(select(StoredObject.state))) == {"doomed"}
        (deletion,) = session.scalars(select(Deletion))
        assert len(deletion.runs) == 4
        assert purges.step(session, deletion.id)


def test_what_has_not_ended_or_is_held_holds_all_of_it(engine: Engine, make_sweep: MakeSweep, hands: Hands) -> None:
    sweep_id = make_sweep(grid={"seed": [1, 2, 3]})
    done, going = train(hands, 1.0), hands.take()
    waiting = jobs(engine, "pretrain")[2].id
    with unit_of_work(engine) as session:
        (made,) = session.scalars(select(Checkpoint))
        checkpoints.pin(session, made, "eve")
    with pytest.raises(InUse) as refused:
        delete(engine, sweep_id)
    assert set(refused.value.holders) == {
        f"run {going.run_id}",
        f"run {waiting}",
        f"the pin of checkpoint {made.id} by eve",
    }
    with unit_of_work(engine) as session:
        cancel_sweep(session, sweep_id, "ada")
    hands.close(going)
    with pytest.raises(InUse, match="pin of checkpoint"):
        delete(engine, sweep_id)
    assert {run.deleted_at for run in jobs(engine, "pretrain")} == {None}
    with unit_of_work(engine) as session:
        checkpoints.unpin(session, session.get_one(Checkpoint, made.id))
    assert delete(engine, sweep_id).bytes == 10
    assert done in {run.id for run in jobs(engine, "pretrain") if run.deleted_at is not None}


def test_what_others_made_of_its_runs_holds_it_and_then_stays(
    engine: Engine, make_sweep: MakeSweep, make_run: Callable[..., str], hands: Hands
) -> None:
    sweep_id = make_sweep(grid={"seed": [1]})
    run_id = train(hands, 1.0)
    with read_only(engine) as session:
        (made,) = session.scalars(select(Checkpoint))
    fork = make_run(spec={"config": {}, "resume": {"checkpoint_id": made.id}}, forked_from=run_id)
    with pytest.raises(InUse, match=fork):
        delete(engine, sweep_id)
    with unit_of_work(engine) as session:
        request_action(session, session.get_one(Run, fork), "cancel", "ada")
    assert delete(engine, sweep_id).derived == (f"run {fork}",)


def test_runs_deleted_before_are_no_matter(engine: Engine, make_sweep: MakeSweep, hands: Hands) -> None:
    sweep_id = make_sweep(evaluate=KNN)
    first = train(hands, 1.0)
    train(hands, 2.0)
    with unit_of_work(engine) as session:
        delete_run(session, first, "pretrain", "ada")
    assert delete(engine, sweep_id).bytes == 10
    with unit_of_work(engine) as session:
        assert evaluate_completed(session) == []  # those that were still to be made are not
        with pytest.raises(NotFound, match="sweep 'swp_none'"):
            delete_sweep(session, "swp_none", "ada")
