from collections.abc import Callable

import pytest
from sqlalchemy import Engine, select

from control.db.models import Checkpoint, Deletion, Metric, ModelVersion, Run, RunEvent, StoredObject
from control.db.session import unit_of_work
from control.errors import IllegalMove, InUse, NotFound
from control.records.journal import history, metrics
from control.records.models.registry import NewVersion, add_version
from control.records.runs import checkpoints, purges
from control.records.runs.actions import request_action
from control.records.runs.deleting import delete_run
from control.records.runs.kinds import Kind
from control.records.runs.runs import get_run, list_runs
from tests.unit.control.records.saved import save


def end(engine: Engine, run_id: str) -> None:
    with unit_of_work(engine) as session:
        request_action(session, get_run(session, run_id), "cancel", "ada")


def delete(engine: Engine, run_id: str, kind: Kind = "pretrain", *, dry_run: bool = False) -> tuple[list[str], int]:
    with unit_of_work(engine) as session:
        removed = delete_run(session, run_id, kind, "ada", dry_run=dry_run)
    return list(removed.derived), removed.bytes


def purge(engine: Engine) -> None:
    with unit_of_work(engine) as session:
        for deletion in purges.pending(session):
            assert purges.step(session, deletion)


def test_a_run_goes_with_all_that_is_its_own(engine: Engine, make_run: Callable[..., str]) -> None:
    run_id, other = make_run(), make_run()
    save(engine, run_id, {1: b"own", 2: b"shared"})
    save(engine, other, {1: b"shared"})
    with unit_of_work(engine) as session:
        session.add(Metric(run_id=run_id, key="loss", step=1, value=1.0, time=get_run(session, run_id).created_at))
    end(engine, run_id)
    assert delete(engine, run_id, dry_run=True) == ([], 3)
    with unit_of_work(engine) as session:
        assert get_run(session, run_id).stored_bytes == 9
        assert session.query(Deletion).all() == []
    assert delete(engine, run_id) == ([], 3)
    assert delete(engine, run_id) == ([], 3)  # asked again
    with unit_of_work(engine) as session:
        with pytest.raises(NotFound):
            get_run(session, run_id)
        assert [run.id for run in list_runs(session, ["pretrain"]).items] == [other]
    purge(engine)
    with unit_of_work(engine) as session:
        assert metrics.latest(session, run_id) == {}
        assert session.scalars(select(RunEvent.id).where(RunEvent.run_id == run_id)).all() == []
        assert session.scalars(select(RunEvent.id).where(RunEvent.run_id == other)).all() != []
        (deletion,) = session.query(Deletion)
        assert (deletion.state, deletion.target, deletion.created_by) == ("deleted", run_id, "ada")
        assert session.get_one(Run, run_id).deleted_at is not None  # its usage still counts


def test_a_run_that_goes_on_must_end_first(engine: Engine, make_run: Callable[..., str]) -> None:
    run_id = make_run()
    with pytest.raises(IllegalMove) as refused:
        delete(engine, run_id)
    assert "cancel" in refused.value.available
    with pytest.raises(NotFound, match="no run 'run_never'"):
        delete(engine, "run_never")
    with pytest.raises(NotFound, match="no evaluation"):
        delete(engine, run_id, "evaluate")


def test_what_holds_it_is_named_and_what_came_from_it_stays(engine: Engine, make_run: Callable[..., str]) -> None:
    run_id = make_run()
    first, second = save(engine, run_id, {1: b"1", 2: b"2"})
    fork = make_run(spec={"config": {}, "resume": {"checkpoint_id": second}}, forked_from=run_id)
    waiting = make_run(kind="evaluate", after=(run_id,))
    ended = make_run(kind="evaluate", spec={"source": {"checkpoint_id": first}})
    with unit_of_work(engine) as session:
        checkpoints.pin(session, history.get_checkpoint(session, run_id, first), "ada")
        version = add_version(session, NewVersion(model="net", source=session.get_one(Checkpoint, first), actor="a"))
    for job in (run_id, ended):
        end(engine, job)
    with pytest.raises(InUse) as refused:
        delete(engine, run_id, dry_run=True)
    assert set(refused.value.holders) == {
        f"the pin of checkpoint {first} by ada",
        f"run {fork}",
        f"export {version.run.id}",
    }
    for job in (fork, version.run.id):
        end(engine, job)
    with unit_of_work(engine) as session:
        checkpoints.unpin(session, history.get_checkpoint(session, run_id, first))
        session.get_one(ModelVersion, version.version.id).state = "ready"
    derived, size = delete(engine, run_id)
    assert set(derived) == {f"run {fork}", f"evaluation {ended}", "model version net:1"}
    assert size == 2
    with unit_of_work(engine) as session:
        assert session.get_one(Run, waiting).state == "cancelled"  # by the end of what it waited for
        assert session.get_one(ModelVersion, version.version.id).checkpoint_id == first
        assert {row.state for row in session.query(StoredObject)} == {"doomed"}


def test_an_evaluation_lets_its_checkpoint_go(engine: Engine, make_run: Callable[..., str]) -> None:
    run_id = make_run()
    first, _ = save(engine, run_id, {1: b"1", 2: b"2"})
    evaluation = make_run(kind="evaluate", spec={"source": {"checkpoint_id": first}})
    end(engine, evaluation)
    assert delete(engine, evaluation, "evaluate") == ([], 0)
    with unit_of_work(engine) as session:
        assert checkpoints._holders(session, [first]) == {}
        assert run_id in checkpoints.due(session)


def test_a_long_deletion_is_many_steps(
    engine: Engine, make_run: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = make_run()
    with unit_of_work(engine) as session:
        made = get_run(session, run_id).created_at
        session.add_all(Metric(run_id=run_id, key="loss", step=n, value=1.0, time=made) for n in range(25))
    end(engine, run_id)
    delete(engine, run_id)
    monkeypatch.setattr(purges, "_BATCH", 10)
    steps = 0
    while True:
        steps += 1
        with unit_of_work(engine) as session:
            (deletion,) = session.scalars(select(Deletion.id))
            if purges.step(session, deletion):
                break
    assert steps == 3
    with unit_of_work(engine) as session:
        assert session.query(Metric).all() == []
