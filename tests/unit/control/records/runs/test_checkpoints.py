from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from control.db.models import Checkpoint, Run, StoredObject
from control.db.session import unit_of_work
from control.errors import NotFound
from control.records.journal import history
from control.records.models.registry import NewVersion, add_version
from control.records.runs import checkpoints
from control.records.runs.actions import request_action
from control.records.runs.runs import get_run
from control.records.store import objects
from control.retention import Policy
from tests.unit.control.records.saved import save

STRICT = Policy(best=0, latest=1)


def prune(engine: Engine, policy: Policy = STRICT) -> int:
    """What the clean-up does to the tables."""
    with unit_of_work(engine) as session:
        due = checkpoints.due(session)
    marked = 0
    for run_id, call in due.items():
        with unit_of_work(engine) as session:
            marked += checkpoints.prune(session, run_id, call, policy)
    return marked


def states(engine: Engine, run_id: str) -> dict[int, str]:
    with unit_of_work(engine) as session:
        rows = session.query(Checkpoint).where(Checkpoint.run_id == run_id).order_by(Checkpoint.step)
        return {row.step: row.state for row in rows}


def test_the_oldest_go_and_their_objects_with_them(engine: Engine, make_run: Callable[..., str]) -> None:
    run_id = make_run()
    save(engine, run_id, {1: b"one", 2: b"two", 3: b"three"})
    assert prune(engine, Policy(best=1, latest=2)) == 1
    assert states(engine, run_id) == {1: "deleting", 2: "stored", 3: "stored"}
    assert prune(engine) == 0  # nobody has called since
    with unit_of_work(engine) as session:
        assert [row.bytes for row in session.query(StoredObject).where(StoredObject.state == "doomed")] == [3]
        assert session.get_one(Run, run_id).stored_bytes == 8
        assert [row.step for row in history.list_checkpoints(session, run_id).items] == [3, 2]
        gone = session.query(Checkpoint).where(Checkpoint.step == 1).one()
        with pytest.raises(NotFound):
            history.get_checkpoint(session, run_id, gone.id)


def test_a_run_says_what_is_kept_of_it(engine: Engine, make_run: Callable[..., str]) -> None:
    run_id = make_run(keep={"latest": 3, "best": None})
    save(engine, run_id, {1: b"1", 2: b"2", 3: b"3"})
    assert prune(engine) == 0
    with unit_of_work(engine) as session:
        run = checkpoints.set_policy(session, get_run(session, run_id), {"latest": 2, "every_epochs": None})
        assert checkpoints.policy_of(run, STRICT) == Policy(best=0, latest=2)
    assert prune(engine) == 1


def test_a_pin_keeps_until_it_is_taken_away(engine: Engine, make_run: Callable[..., str]) -> None:
    run_id = make_run()
    first, _ = save(engine, run_id, {1: b"1", 2: b"2"})
    with unit_of_work(engine) as session:
        for _ in range(2):
            pinned = checkpoints.pin(session, history.get_checkpoint(session, run_id, first), "ada")
            assert (pinned.pinned_by, pinned.pinned_at is None) == ("ada", False)
    assert prune(engine) == 0
    with unit_of_work(engine) as session:
        for _ in range(2):
            checkpoints.unpin(session, history.get_checkpoint(session, run_id, first))
    assert prune(engine) == 1
    with unit_of_work(engine) as session, pytest.raises(NotFound):
        checkpoints.pin(session, session.get_one(Checkpoint, first), "ada")


def test_whoever_needs_one_keeps_it(engine: Engine, make_run: Callable[..., str]) -> None:
    run_id = make_run()
    ids = save(engine, run_id, {step: b"%d" % step for step in range(1, 7)})
    fork = make_run(spec={"config": {}, "init": {"checkpoint_id": ids[0]}})
    evaluation = make_run(kind="evaluate", spec={"source": {"run": run_id, "checkpoint_id": ids[1]}})
    ended = make_run(kind="evaluate", spec={"source": {"checkpoint_id": ids[2]}})
    with unit_of_work(engine) as session:
        request_action(session, get_run(session, ended), "cancel", "ada")
        source = session.get_one(Checkpoint, ids[3])
        export = add_version(session, NewVersion(model="net", source=source, actor="ada"))
    with unit_of_work(engine) as session:
        judged = checkpoints.judge(session, get_run(session, run_id), STRICT)
    assert judged.reasons == {
        ids[5]: ("latest", "resume"),
        ids[4]: (),
        ids[3]: ("model version net:1", f"export {export.run.id}"),
        ids[2]: (f"evaluation {ended}",),
        ids[1]: (f"evaluation {evaluation}",),
        ids[0]: (f"run {fork}",),
    }
    assert prune(engine) == 1
    with unit_of_work(engine) as session:  # an export that failed needs it no more, and its end has it looked at
        request_action(session, get_run(session, export.run.id), "cancel", "ada")
    assert prune(engine) == 1
    assert states(engine, run_id)[4] == "deleting"


def test_one_that_is_being_named_is_left_alone(
    postgresql_engine: Engine, request: pytest.FixtureRequest, make_run: Callable[..., str], engine: Engine
) -> None:
    if engine is not postgresql_engine:
        pytest.skip("SQLite has one writer at a time")
    run_id = make_run()
    first, _ = save(engine, run_id, {1: b"1", 2: b"2"})
    with unit_of_work(engine) as session:
        history.usable_checkpoint(session, run_id, first)
        assert prune(engine) == 0
    assert prune(engine) == 1
    with unit_of_work(engine) as session, pytest.raises(NotFound):
        history.usable_checkpoint(session, run_id, first)


def test_all_are_looked_at_when_settings_may_have_changed(engine: Engine, make_run: Callable[..., str]) -> None:
    run_id = make_run()
    save(engine, run_id, {1: b"1", 2: b"2"})
    save(engine, make_run(), {1: b"1"})
    assert prune(engine, Policy()) == 0
    with unit_of_work(engine) as session:
        checkpoints.reconsider_all(session)
        assert list(checkpoints.due(session)) == [run_id]
    assert prune(engine) == 1


STEPS = st.lists(
    st.tuples(st.sampled_from([b"same", b"other", b"third", b""]), st.sampled_from(["", "", "pin", "fork", "version"])),
    min_size=1,
    max_size=7,
)


@settings(
    max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None
)
@given(saved=STEPS, latest=st.integers(1, 3))
def test_nothing_that_is_needed_ever_goes(
    engine: Engine, make_run: Callable[..., str], saved: Any, latest: int
) -> None:
    run_id, needed = make_run(), []
    contents = {step: content or b"%d" % step for step, (content, _) in enumerate(saved, 1)}
    ids = save(engine, run_id, contents)
    for checkpoint_id, (_, how) in zip(ids, saved, strict=True):
        if how:
            needed.append(checkpoint_id)
        if how == "fork":
            make_run(spec={"init": {"checkpoint_id": checkpoint_id}})
        with unit_of_work(engine) as session:
            row = session.get_one(Checkpoint, checkpoint_id)
            if how == "pin":
                checkpoints.pin(session, row, "ada")
            if how == "version":
                add_version(session, NewVersion(model="net", source=row, actor="ada"))
    prune(engine, Policy(best=0, latest=latest))
    with unit_of_work(engine) as session:
        stored = {row.id for row in session.query(Checkpoint) if row.state == "stored"}
        marked = objects.begin_removal(session, limit=1000)
        kept = {row.key for row in session.query(Checkpoint) if row.state == "stored"}
        objects.end_removal(session, marked)
    assert set(needed) | set(ids[-latest:]) <= stored
    assert not kept & set(marked)
