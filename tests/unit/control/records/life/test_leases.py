import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, tzinfo
from typing import cast

import pytest
from sqlalchemy import Engine, select, update

from control.db.models import Attempt, OutboxEntry, Run, RunEvent, Slot
from control.db.session import database_time, unit_of_work
from control.records.journal.history import list_attempts, list_events
from control.records.life.feed import ingest
from control.records.life.leases import Directive, Outcome, close, held_on, look, reap, renew, start
from control.records.runs.actions import request_action
from control.records.runs.runs import get_run
from control.records.scheduling.claims import Claim
from control.records.scheduling.workers import WorkerIdentity
from control.states import MAX_LOSSES, Action
from detco_core.contract.errors import ErrorKind
from detco_core.contract.events import CheckpointSaved, Event

Taking = Callable[..., Claim | None]


@pytest.fixture
def taken(make_worker: Callable[..., WorkerIdentity], make_run: Callable[..., str], claim_run: Taking) -> Claim:
    """A run that a worker of host `a` has just claimed."""
    worker = make_worker()
    make_run()
    found = claim_run(worker)
    assert found is not None
    return found


def test_start_makes_it_running(engine: Engine, taken: Claim, fetch_run: Callable[[str], Run]) -> None:
    with unit_of_work(engine) as session:
        assert start(session, taken.run_id, taken.fence, pid=42)
    run = fetch_run(taken.run_id)
    assert run.state == "running"
    assert run.started_at is not None
    with unit_of_work(engine) as session:
        (attempt,) = list_attempts(session, run.id)
        assert (attempt.pid, attempt.state) == (42, "running")
        assert [(held.run_id, held.pid) for held in held_on(session, "a")] == [(run.id, 42)]
        assert held_on(session, "b") == []


def test_renew_moves_the_lease_by_the_databases_clock(engine: Engine, taken: Claim) -> None:
    with unit_of_work(engine) as session:
        before = database_time(session)
        assert renew(session, taken.run_id, taken.fence, 500) == Directive("run", None)
    with unit_of_work(engine) as session:
        expires = get_run(session, taken.run_id).lease_expires_at
        assert expires is not None
        assert timedelta(seconds=499) < expires - before <= database_time(session) - before + timedelta(seconds=500)


def test_a_directive_carries_what_is_wanted(engine: Engine, taken: Claim) -> None:
    with unit_of_work(engine) as session:
        request_action(session, get_run(session, taken.run_id), "pause", "tester")
    with unit_of_work(engine) as session:
        assert look(session, taken.run_id, taken.fence) == Directive("pause", None)


def test_a_stale_fence_is_refused_everywhere(engine: Engine, taken: Claim) -> None:
    with unit_of_work(engine) as session:
        assert reap(session) == []
        session.execute(update(Run).values(lease_expires_at=database_time(session) - timedelta(seconds=1)))
    with unit_of_work(engine) as session:
        assert reap(session) == [taken.run_id]
    calls: list[Callable[..., object]] = [
        lambda session: renew(session, taken.run_id, taken.fence),
        lambda session: look(session, taken.run_id, taken.fence),
        lambda session: start(session, taken.run_id, taken.fence, 1),
        lambda session: ingest(session, taken.run_id, taken.fence, [], 10),
        lambda session: close(session, taken.run_id, taken.fence, Outcome(kind="completed")),
    ]
    with unit_of_work(engine) as session:
        before = session.scalars(select(RunEvent.id)).all()
    for call in calls:
        with unit_of_work(engine) as session:
            assert not call(session)
    with unit_of_work(engine) as session:
        assert session.scalars(select(RunEvent.id)).all() == before
        assert get_run(session, taken.run_id).state == "queued"


def test_reaping_waits_for_the_grace_then_fences_and_queues_again(engine: Engine, taken: Claim) -> None:
    with unit_of_work(engine) as session:
        session.execute(update(Run).values(lease_expires_at=database_time(session) - timedelta(seconds=30)))
        assert reap(session, grace_seconds=60) == []
        assert reap(session, grace_seconds=10) == [taken.run_id]
    with unit_of_work(engine) as session:
        run = get_run(session, taken.run_id)
        assert (run.state, run.fence, run.losses, run.lease_owner) == ("queued", taken.fence + 1, 1, None)
        assert session.scalars(select(Slot).where(Slot.run_id.is_not(None))).all() == []
        assert [attempt.state for attempt in list_attempts(session, run.id)] == ["lost"]


def test_completed_happens_exactly_once(engine: Engine, taken: Claim) -> None:
    def finish(_: int) -> bool:
        with unit_of_work(engine) as session:
            return close(session, taken.run_id, taken.fence, Outcome(kind="completed", exit_code=0))

    with ThreadPoolExecutor(6) as pool:
        assert sorted(pool.map(finish, range(6))) == [False] * 5 + [True]
    with unit_of_work(engine) as session:
        assert [event.payload["state"] for event in list_events(session, taken.run_id)] == [
            "queued",
            "starting",
            "completed",
        ]
        assert get_run(session, taken.run_id).finished_at is not None


@pytest.mark.parametrize(
    ("action", "outcome", "state"),
    [
        ("pause", "stopped", "paused"),
        ("pause", "lost", "paused"),
        ("cancel", "stopped", "cancelled"),
        ("cancel", "lost", "cancelled"),
        ("cancel", "completed", "completed"),
        ("kill", "lost", "cancelled"),
        ("finish", "stopped", "completed"),
        ("finish", "lost", "queued"),
        (None, "stopped", "queued"),
        (None, "preempted", "queued"),
    ],
)
def test_what_is_wanted_decides_what_an_end_means(
    engine: Engine, taken: Claim, action: Action | None, outcome: str, state: str
) -> None:
    with unit_of_work(engine) as session:
        start(session, taken.run_id, taken.fence, 1)
        if action is not None:
            request_action(session, get_run(session, taken.run_id), action, "tester")
    with unit_of_work(engine) as session:
        assert close(session, taken.run_id, taken.fence, Outcome(kind=outcome))  # type: ignore[arg-type]  # a parameter
        assert get_run(session, taken.run_id).state == state


@pytest.mark.parametrize("kind", ["user", "nan", "out_of_memory"])
def test_own_faults_count_against_max_attempts(
    engine: Engine,
    kind: ErrorKind,
    make_worker: Callable[..., WorkerIdentity],
    make_run: Callable[..., str],
    claim_run: Taking,
    fetch_run: Callable[[str], Run],
) -> None:
    worker, run_id = make_worker(), make_run(max_attempts=2)
    for expected in ("queued", "failed"):
        found = claim_run(worker)
        assert found is not None
        with unit_of_work(engine) as session:
            close(session, run_id, found.fence, Outcome(kind="failed", error_kind=kind, message="it hurts"))
        run = fetch_run(run_id)
        assert (run.state, run.reason) == (expected, "it hurts")
    assert (run.failures, run.losses) == (2, 0)


@pytest.mark.parametrize(
    "outcome",
    [
        Outcome(kind="lost"),
        Outcome(kind="preempted"),
        Outcome(kind="stopped"),
        Outcome(kind="failed", error_kind="internal", message="oops"),
        Outcome(kind="failed"),
    ],
)
def test_any_other_end_has_a_limit_of_its_own(
    engine: Engine,
    outcome: Outcome,
    make_worker: Callable[..., WorkerIdentity],
    make_run: Callable[..., str],
    claim_run: Taking,
    fetch_run: Callable[[str], Run],
) -> None:
    worker, run_id = make_worker(), make_run(max_attempts=1)
    with unit_of_work(engine) as session:
        session.execute(update(Run).values(losses=MAX_LOSSES - 2))
    for state in ("queued", "failed"):
        found = claim_run(worker)
        assert found is not None
        with unit_of_work(engine) as session:
            close(session, run_id, found.fence, outcome)
        assert fetch_run(run_id).state == state
    run = fetch_run(run_id)
    assert run.failures == 0
    assert "20 times in a row without a new checkpoint" in (run.reason or "")


def test_back_off_grows_to_ten_seconds_and_starts_again_at_a_checkpoint(
    engine: Engine,
    make_worker: Callable[..., WorkerIdentity],
    make_run: Callable[..., str],
    claim_run: Taking,
) -> None:
    worker, run_id = make_worker(), make_run()
    saved = CheckpointSaved(step=5, epoch=1.0, path="c", bytes=1, sha256="0" * 64)
    for number, seconds in enumerate((1, 2, 4, 8, 10, 1, 2)):
        found = claim_run(worker)
        assert found is not None
        with unit_of_work(engine) as session:
            if number == 5:
                ingest(session, run_id, found.fence, [Event(1, 0.0, saved)], 10)
            before = database_time(session)
            close(session, run_id, found.fence, Outcome(kind="lost"))
            not_before = get_run(session, run_id).not_before
            assert not_before is not None
            rounding = timedelta(milliseconds=2)
            earliest, latest = before - rounding, database_time(session) + rounding
            assert earliest <= not_before - timedelta(seconds=seconds) <= latest


def test_gpu_time_is_counted(
    engine: Engine, make_worker: Callable[..., WorkerIdentity], make_run: Callable[..., str], claim_run: Taking
) -> None:
    worker, run_id = make_worker(train=0, gpus=("GPU-1", "GPU-2")), make_run(gpus=2)
    found = claim_run(worker)
    assert found is not None
    with unit_of_work(engine) as session:
        session.execute(update(Attempt).values(created_at=database_time(session) - timedelta(seconds=100)))
        close(session, run_id, found.fence, Outcome(kind="completed"))
        assert get_run(session, run_id).gpu_seconds == pytest.approx(200, abs=10)


def test_freed_slots_wake_who_waits_for_them(engine: Engine, taken: Claim, make_run: Callable[..., str]) -> None:
    make_run()
    with unit_of_work(engine) as session:
        before = len(session.scalars(select(OutboxEntry)).all())
        close(session, taken.run_id, taken.fence, Outcome(kind="completed"))
        assert len(session.scalars(select(OutboxEntry)).all()) == before + 1


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_host_whose_clock_is_wrong_holds_its_runs_like_any_other(
    engine: Engine,
    make_worker: Callable[..., WorkerIdentity],
    make_run: Callable[..., str],
    claim_run: Taking,
    fetch_run: Callable[[str], Run],
    monkeypatch: pytest.MonkeyPatch,
    hours: int,
) -> None:
    """Clock skew: leases, back-off and who leads are told by the database; a host's clock only dates what it says."""
    wrong = timedelta(hours=hours)

    class Clock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> "Clock":
            return cast("Clock", datetime.now(tz) + wrong)

    for name, module in list(sys.modules.items()):
        if name.startswith("control.") and getattr(module, "datetime", None) is datetime:
            monkeypatch.setattr(module, "datetime", Clock)
    worker = make_worker()
    run_id = make_run()
    claim = claim_run(worker, lease_seconds=60)
    assert claim is not None
    said = Event(
        1,
        (datetime.now(UTC) + wrong).timestamp(),
        CheckpointSaved(step=1, epoch=0.0, path="c", bytes=1, sha256="ab" * 32),
    )
    with unit_of_work(engine) as session:
        assert start(session, run_id, claim.fence, pid=1)
        assert renew(session, run_id, claim.fence, 60) is not None
        assert ingest(session, run_id, claim.fence, [said], 1)
        assert reap(session) == []
        lease = get_run(session, run_id).lease_expires_at
        assert lease is not None
        assert timedelta(seconds=30) < lease - database_time(session) <= timedelta(seconds=60)
    with unit_of_work(engine) as session:
        assert renew(session, run_id, claim.fence, -1) is not None
        assert reap(session) == [run_id]
        types = [event.payload.get("state", event.type) for event in list_events(session, run_id)]
    assert types == ["queued", "starting", "running", "checkpoint", "queued"]
    run = fetch_run(run_id)
    assert run.not_before is not None
    with unit_of_work(engine) as session:
        assert run.not_before <= database_time(session) + timedelta(seconds=10)
