from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import Engine, update

from control.db.models import Attempt, Run
from control.db.session import database_time, unit_of_work
from control.records.datasets.datasets import Scan
from control.records.journal.history import list_attempts, list_events
from control.records.life.leases import Outcome, close, look, start
from control.records.runs.actions import request_action
from control.records.runs.runs import get_run
from control.records.scheduling.claims import Claim
from control.records.scheduling.preemption import SETTLED_SECONDS, arrange
from control.records.scheduling.workers import WorkerIdentity

Submit = Callable[..., str]


@pytest.fixture
def run_on(engine: Engine, make_run: Submit, claim_run: Callable[..., Claim | None]) -> Callable[..., Claim]:
    """A run that a worker has held for `age` seconds."""

    def go(worker: WorkerIdentity, *, age: float = 2 * SETTLED_SECONDS, **fields: object) -> Claim:
        run_id = make_run(**fields)
        found = claim_run(worker)
        assert found is not None
        assert found.run_id == run_id
        with unit_of_work(engine) as session:
            start(session, run_id, found.fence, 1)
            began = database_time(session) - timedelta(seconds=age)
            session.execute(update(Attempt).where(Attempt.run_id == run_id).values(started_at=began))
        return found

    return go


@pytest.fixture
def asked(engine: Engine) -> Callable[[], list[str]]:
    def ask() -> list[str]:
        with unit_of_work(engine) as session:
            return arrange(session, 100.0)

    return ask


def leave(engine: Engine, found: Claim) -> None:
    with unit_of_work(engine) as session:
        close(session, found.run_id, found.fence, Outcome(kind="stopped"))


def test_a_less_urgent_run_saves_and_makes_room(
    engine: Engine,
    make_worker: Callable[..., WorkerIdentity],
    make_run: Submit,
    claim_run: Callable[..., Claim | None],
    run_on: Callable[..., Claim],
    asked: Callable[[], list[str]],
    fetch_run: Callable[[str], Run],
) -> None:
    worker = make_worker()
    guest = run_on(worker)
    urgent = make_run(priority=5, preempt=True)
    assert asked() == [guest.run_id]
    assert asked() == []
    with unit_of_work(engine) as session:
        wanted = look(session, guest.run_id, guest.fence)
        assert wanted is not None
        assert wanted.desired_state == "preempt"
        assert list_events(session, guest.run_id)[-1].payload["desired_state"] == "preempt"
    leave(engine, guest)
    run = fetch_run(guest.run_id)
    assert (run.state, run.desired_state, run.failures, run.losses) == ("queued", "run", 0, 1)
    assert run.reason == f"it saves and makes room for {urgent}, which is more urgent (5 > 0)"
    with unit_of_work(engine) as session:
        (attempt,) = list_attempts(session, guest.run_id)
        assert (attempt.state, attempt.cause, attempt.reason) == ("preempted", "preempted", run.reason)
    found = claim_run(worker)
    assert found is not None
    assert found.run_id == urgent
    assert asked() == [], "who made room has no right to it"


@pytest.mark.parametrize(
    ("guest", "asker"),
    [
        ({}, {"priority": 5}),
        ({"priority": 5}, {"priority": 5, "preempt": True}),
        ({"preemptible": False}, {"priority": 5, "preempt": True}),
        ({"age": SETTLED_SECONDS / 2}, {"priority": 5, "preempt": True}),
        ({}, {"priority": 5, "preempt": True, "gpus": 2}),
    ],
    ids=["did not ask", "as urgent", "does not allow it", "has just begun", "too few slots anyhow"],
)
def test_nobody_is_asked(
    make_worker: Callable[..., WorkerIdentity],
    make_run: Submit,
    run_on: Callable[..., Claim],
    asked: Callable[[], list[str]],
    guest: dict[str, object],
    asker: dict[str, object],
) -> None:
    run_on(make_worker(), **guest)
    make_run(**asker)
    assert asked() == []


def test_nobody_is_asked_where_there_is_room(
    make_worker: Callable[..., WorkerIdentity],
    make_run: Submit,
    run_on: Callable[..., Claim],
    asked: Callable[[], list[str]],
) -> None:
    run_on(make_worker(train=2))
    make_run(priority=5, preempt=True)
    assert asked() == []


def test_the_fewest_of_the_least_urgent_within_reach_are_asked(
    make_worker: Callable[..., WorkerIdentity],
    make_dataset: Callable[..., Scan],
    make_run: Submit,
    run_on: Callable[..., Claim],
    asked: Callable[[], list[str]],
) -> None:
    far, near = make_worker(host="far", train=2, roots=("/elsewhere",)), make_worker(host="near", train=5)
    run_on(far, gpus=2)
    run_on(near, priority=1)
    larger = run_on(near, priority=2, gpus=2)
    run_on(near, priority=3, gpus=2)
    make_run(priority=9, preempt=True, gpus=2, dataset_version_id=make_dataset().version.id)
    assert asked() == [larger.run_id]


def test_room_is_kept_for_whom_it_was_made(
    engine: Engine,
    make_worker: Callable[..., WorkerIdentity],
    make_run: Submit,
    claim_run: Callable[..., Claim | None],
    run_on: Callable[..., Claim],
    asked: Callable[[], list[str]],
) -> None:
    worker = make_worker(train=3)
    guests = [run_on(worker), run_on(worker)]
    run_on(worker, priority=50)
    urgent = make_run(priority=5, preempt=True, gpus=2)
    assert sorted(asked()) == sorted(guest.run_id for guest in guests)
    leave(engine, guests[0])
    assert claim_run(worker) is None, "the first slot must not go back to who left it"
    more_urgent = make_run(priority=60)
    found = claim_run(worker)
    assert found is not None
    assert found.run_id == more_urgent
    leave(engine, guests[1])
    assert claim_run(worker) is None
    with unit_of_work(engine) as session:
        close(session, more_urgent, found.fence, Outcome(kind="completed"))
    found = claim_run(worker)
    assert found is not None
    assert found.run_id == urgent


def test_room_is_not_kept_for_ever(
    engine: Engine,
    make_worker: Callable[..., WorkerIdentity],
    make_run: Submit,
    claim_run: Callable[..., Claim | None],
    run_on: Callable[..., Claim],
    asked: Callable[[], list[str]],
) -> None:
    worker = make_worker()
    guest = run_on(worker)
    urgent = make_run(priority=5, preempt=True)
    assert asked() == [guest.run_id]
    with unit_of_work(engine) as session:
        request_action(session, get_run(session, urgent), "pause", "t")
    leave(engine, guest)
    found = claim_run(worker)
    assert found is not None
    assert found.run_id == guest.run_id


def test_a_person_comes_first(
    engine: Engine,
    make_worker: Callable[..., WorkerIdentity],
    make_run: Submit,
    run_on: Callable[..., Claim],
    asked: Callable[[], list[str]],
    fetch_run: Callable[[str], Run],
) -> None:
    guest = run_on(make_worker())
    make_run(priority=5, preempt=True)
    asked()
    with unit_of_work(engine) as session:
        request_action(session, get_run(session, guest.run_id), "pause", "t")
    leave(engine, guest)
    assert fetch_run(guest.run_id).state == "paused"
