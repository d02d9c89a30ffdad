from collections.abc import Callable
from contextlib import suppress

import pytest
from sqlalchemy import Engine, select, update

from control.db.models import DatasetVersion, OutboxEntry, Run, RunEvent
from control.db.session import unit_of_work
from control.errors import InvalidRequest, NotFound, NotReady
from control.records.datasets.datasets import Scan
from control.records.journal.history import list_events
from control.records.life.leases import Outcome, close
from control.records.runs.actions import request_action
from control.records.runs.runs import get_run, list_runs
from control.records.runs.submission import NewRun, create_run
from control.records.scheduling.claims import Claim
from control.records.scheduling.workers import WorkerIdentity

Submit = Callable[..., str]


def test_a_run_is_born_with_its_event_and_its_wake_up(engine: Engine, make_run: Submit) -> None:
    run_id = make_run(name="first", labels={"team": "vision"}, gpus=2)
    with unit_of_work(engine) as session:
        run = get_run(session, run_id)
        assert run_id.startswith("run_")
        assert (run.state, run.desired_state, run.slots_wanted) == ("queued", "run", 2)
        assert (run.created_by, run.labels) == ("tester", {"team": "vision"})
        (event,) = list_events(session, run_id)
        assert event.type == "state"
        assert event.payload == {
            "state": "queued",
            "desired_state": "run",
            "reason": None,
            "attempt": 0,
            "actor": "tester",
        }
        assert session.scalars(select(OutboxEntry.queue)).all() == ["gpu"]


def test_a_submission_that_fails_leaves_nothing(engine: Engine) -> None:
    with suppress(RuntimeError), unit_of_work(engine) as session:
        create_run(session, NewRun(kind="pretrain", spec={}, actor="tester"))
        raise RuntimeError
    with unit_of_work(engine) as session:
        for table in (Run, RunEvent, OutboxEntry):
            assert session.scalars(select(table)).all() == []


def test_light_work_takes_one_light_slot(engine: Engine, make_run: Submit, fetch_run: Callable[[str], Run]) -> None:
    run = fetch_run(make_run(kind="evaluate", gpus=4))
    assert (run.queue, run.slots_wanted) == ("cpu", 1)


@pytest.mark.parametrize("key", ["", "a b", 'a"b', "é", "a" * 64])
def test_label_keys_are_checked(engine: Engine, key: str, make_run: Submit) -> None:
    with pytest.raises(InvalidRequest, match="label key"):
        make_run(labels={key: "x"})
    with pytest.raises(InvalidRequest, match="label key"), unit_of_work(engine) as session:
        list_runs(session, ["pretrain"], label=key)


def test_what_depends_on_something_that_will_never_come_fails(
    engine: Engine, make_run: Submit, fetch_run: Callable[[str], Run]
) -> None:
    first = make_run()
    second = make_run(after=(first,))
    third = make_run(after=(second, first))
    with unit_of_work(engine) as session:
        request_action(session, get_run(session, first), "cancel", "tester")
    assert [fetch_run(run_id).state for run_id in (second, third)] == ["cancelled", "cancelled"]
    assert fetch_run(second).reason == f"it was to run after {first}, which ended cancelled"
    assert fetch_run(second).desired_state == "cancel"
    with pytest.raises(NotReady, match="ended cancelled"):
        make_run(after=(first,))
    with pytest.raises(NotFound):
        make_run(after=("run_none",))


def test_a_failure_is_passed_on_along_a_chain(
    engine: Engine, make_run: Submit, make_worker: Callable[..., WorkerIdentity], claim_run: Callable[..., Claim | None]
) -> None:
    first = make_run(max_attempts=1)
    before = make_run(kind="evaluate", after=(first,))
    with unit_of_work(engine) as session:
        request_action(session, get_run(session, before), "pause", "tester")
        for _ in range(8):
            new = NewRun(kind="evaluate", spec={}, actor="tester", after=(before,))
            before = create_run(session, new).id
    found = claim_run(make_worker())
    assert found is not None
    with unit_of_work(engine) as session:
        close(session, first, found.fence, Outcome(kind="failed", error_kind="user", message="bad"))
        assert set(session.scalars(select(Run.state))) == {"failed"}
        assert get_run(session, before).finished_at is not None


@pytest.mark.parametrize("priority", [-101, 101])
def test_priorities_are_checked(make_run: Submit, priority: int) -> None:
    with pytest.raises(InvalidRequest, match="between -100 and 100"):
        make_run(priority=priority)


def test_a_completed_run_wakes_those_after_it(
    engine: Engine, make_run: Submit, make_worker: Callable[..., WorkerIdentity], claim_run: Callable[..., Claim | None]
) -> None:
    first = make_run()
    make_run(kind="evaluate", after=(first,))
    found = claim_run(make_worker())
    assert found is not None
    with unit_of_work(engine) as session:
        session.execute(update(OutboxEntry).values(queue="old"))
        close(session, first, found.fence, Outcome(kind="completed"))
        assert session.scalars(select(OutboxEntry.queue).where(OutboxEntry.queue != "old")).all() == ["cpu"]


def test_a_data_set_that_failed_is_refused(engine: Engine, make_run: Submit, make_dataset: Callable[..., Scan]) -> None:
    scan = make_dataset()
    with unit_of_work(engine) as session:
        session.execute(update(DatasetVersion).values(state="failed", reason="no image is readable"))
    with pytest.raises(NotReady, match="photos@1 could not be scanned: no image is readable"):
        make_run(dataset_version_id=scan.version.id)
    with pytest.raises(NotFound):
        make_run(dataset_version_id="dsv_none")
