from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import Engine, select, update

from control.db.models import OutboxEntry, Run
from control.db.session import database_time, unit_of_work
from control.errors import ControlError
from control.records.journal.history import list_events
from control.records.runs.actions import request_action
from control.records.runs.moves import enter, lock
from control.records.runs.runs import get_run


def test_a_state_is_entered_with_its_event(engine: Engine, make_run: Callable[..., str]) -> None:
    run_id = make_run()
    with unit_of_work(engine) as session:
        run = lock(session, run_id)
        assert run is not None
        enter(session, run, "failed", "it broke", "worker:a")
    with unit_of_work(engine) as session:
        last = list_events(session, run_id)[-1]
        assert (last.type, last.payload["state"], last.payload["reason"], last.payload["actor"]) == (
            "state",
            "failed",
            "it broke",
            "worker:a",
        )
        assert get_run(session, run_id).finished_at is not None
        assert lock(session, "run_none") is None


def test_a_run_that_backs_off_is_called_for_when_it_may_go_on(engine: Engine, make_run: Callable[..., str]) -> None:
    run_id = make_run()
    with unit_of_work(engine) as session:
        session.execute(update(OutboxEntry).values(queue="old"))
        run = lock(session, run_id)
        assert run is not None
        run.not_before = database_time(session) + timedelta(hours=8)
        enter(session, run, "queued", "lost", "worker:a")
        entry = session.scalars(select(OutboxEntry).where(OutboxEntry.queue == "gpu")).one()
        assert entry.due_at - entry.created_at == pytest.approx(timedelta(hours=8), abs=timedelta(minutes=1))


def test_a_dependant_submitted_while_its_run_ends_is_never_forgotten(
    engine: Engine, make_run: Callable[..., str]
) -> None:
    """Either the submission is refused, or the run it made has failed: none waits for ever."""

    def submit(run_id: str) -> bool:
        try:
            make_run(after=(run_id,))
        except ControlError:
            return False
        return True

    def cancel(run_id: str) -> bool:
        with unit_of_work(engine) as session:
            request_action(session, get_run(session, run_id), "cancel", "tester")
        return True

    for _ in range(8):
        first = make_run()
        with ThreadPoolExecutor(4) as pool:
            jobs = [pool.submit(act, first) for act in (submit, cancel, submit, submit)]
            [job.result() for job in jobs]
        with unit_of_work(engine) as session:
            assert session.scalars(select(Run.id).where(Run.state == "queued")).all() == []
