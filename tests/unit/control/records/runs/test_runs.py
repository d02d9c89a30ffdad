from collections.abc import Callable
from contextlib import suppress

import pytest
from sqlalchemy import Engine, select, update

from control.db.models import DatasetVersion, OutboxEntry, Run, RunEvent
from control.db.session import unit_of_work
from control.errors import IllegalMove, InvalidRequest, NotFound, NotReady
from control.records.datasets.datasets import Scan
from control.records.journal.history import list_events
from control.records.life.feed import ingest
from control.records.life.leases import Outcome, close, start
from control.records.paging import Page
from control.records.runs.runs import NewRun, create_run, get_run, list_runs, request_action
from control.records.scheduling.claims import Claim
from control.records.scheduling.workers import WorkerIdentity
from control.states import Action
from detco_core.contract.events import CheckpointSaved, Event

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


def test_kinds_are_told_apart(engine: Engine, make_run: Submit) -> None:
    run_id = make_run(kind="evaluate")
    with unit_of_work(engine) as session:
        assert get_run(session, run_id, ["evaluate"]).id == run_id
        with pytest.raises(NotFound, match="no run"):
            get_run(session, run_id, ["pretrain"])
        with pytest.raises(NotFound, match="no evaluation 'run_x'"):
            get_run(session, "run_x", ["evaluate"])


def test_lists_are_filtered_and_paged_newest_first(engine: Engine, make_run: Submit) -> None:
    ids = [make_run(group="g", labels={"n": str(n), "team.x/y": "a"}) for n in range(5)]
    make_run(kind="export", group="g")
    with unit_of_work(engine) as session:
        first = list_runs(session, ["pretrain"], group="g", page=Page(3))
        rest = list_runs(session, ["pretrain"], group="g", page=Page(3, first.next_page_token))
        assert [run.id for run in first.items + rest.items] == sorted(ids, reverse=True)
        assert rest.next_page_token is None
        assert [run.labels["n"] for run in list_runs(session, ["pretrain"], label="n=3").items] == ["3"]
        assert len(list_runs(session, ["pretrain"], label="team.x/y").items) == 5
        assert list_runs(session, ["pretrain"], label="absent").items == []
        assert list_runs(session, ["pretrain"], state="running").items == []
        assert list_runs(session, ["pretrain"], group="other\0").items == []


@pytest.mark.parametrize("key", ["", "a b", 'a"b', "é", "a" * 64])
def test_label_keys_are_checked(engine: Engine, key: str, make_run: Submit) -> None:
    with pytest.raises(InvalidRequest, match="label key"):
        make_run(labels={key: "x"})
    with pytest.raises(InvalidRequest, match="label key"), unit_of_work(engine) as session:
        list_runs(session, ["pretrain"], label=key)


def test_what_nobody_works_on_moves_at_once(engine: Engine, make_run: Submit, fetch_run: Callable[[str], Run]) -> None:
    run_id = make_run()
    seen = []
    for action in ("pause", "pause", "resume", "resume", "cancel", "cancel", "kill"):
        with unit_of_work(engine) as session:
            seen.append(request_action(session, get_run(session, run_id), action, "tester").state)
    assert seen == ["paused", "paused", "queued", "queued", "cancelled", "cancelled", "cancelled"]
    run = fetch_run(run_id)
    assert run.reason == "cancel by tester"
    assert run.finished_at is not None
    with unit_of_work(engine) as session:
        states = [event.payload["state"] for event in list_events(session, run_id)]
    assert states == ["queued", "paused", "queued", "cancelled"]


def test_what_a_worker_holds_is_asked_to(
    engine: Engine,
    make_run: Submit,
    make_worker: Callable[..., WorkerIdentity],
    claim_run: Callable[..., Claim | None],
    fetch_run: Callable[[str], Run],
) -> None:
    run_id = make_run()
    claim_run(make_worker())
    for action, state, desired in (
        ("finish", "starting", "finish"),
        ("pause", "pausing", "pause"),
        ("cancel", "cancelling", "cancel"),
        ("kill", "cancelling", "kill"),
        ("cancel", "cancelling", "kill"),
    ):
        with unit_of_work(engine) as session:
            request_action(session, get_run(session, run_id), action, "tester")  # type: ignore[arg-type]  # one of ACTIONS
        run = fetch_run(run_id)
        assert (run.state, run.desired_state) == (state, desired)


def test_an_unlawful_action_names_the_lawful_ones(engine: Engine, make_run: Submit) -> None:
    run_id = make_run()
    with pytest.raises(IllegalMove, match="lawful now: pause, cancel, kill") as caught, unit_of_work(engine) as session:
        request_action(session, get_run(session, run_id), "finish", "tester")
    assert caught.value.available == ("pause", "cancel", "kill")


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


def test_finish_of_what_is_saved_completes_it_at_once(
    engine: Engine, make_run: Submit, make_worker: Callable[..., WorkerIdentity], claim_run: Callable[..., Claim | None]
) -> None:
    run_id = make_run()
    found = claim_run(make_worker())
    assert found is not None
    saved = CheckpointSaved(step=5, epoch=1.0, path="c", bytes=1, sha256="0" * 64)
    with unit_of_work(engine) as session:
        ingest(session, run_id, found.fence, [Event(1, 0.0, saved)], 10)
        close(session, run_id, found.fence, Outcome(kind="lost"))
    for _ in range(2):
        with unit_of_work(engine) as session:
            run = request_action(session, get_run(session, run_id), "finish", "tester")
            assert (run.state, run.desired_state) == ("completed", "finish")


def test_a_pause_that_is_taken_back(
    engine: Engine, make_run: Submit, make_worker: Callable[..., WorkerIdentity], claim_run: Callable[..., Claim | None]
) -> None:
    run_id = make_run()
    found = claim_run(make_worker())
    assert found is not None

    def ask(action: Action) -> str:
        with unit_of_work(engine) as session:
            run = request_action(session, get_run(session, run_id), action, "tester")
            return f"{run.state}, to {run.desired_state}"

    assert [ask("pause"), ask("resume"), ask("resume")] == ["pausing, to pause", "starting, to run", "starting, to run"]
    with unit_of_work(engine) as session:
        start(session, run_id, found.fence, 1)
    assert [ask("pause"), ask("resume")] == ["pausing, to pause", "running, to run"]
    with unit_of_work(engine) as session:  # the job had been asked to leave by then
        close(session, run_id, found.fence, Outcome(kind="stopped"))
        assert get_run(session, run_id).state == "queued"


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
