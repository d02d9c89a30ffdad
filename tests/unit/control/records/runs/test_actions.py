from collections.abc import Callable

import pytest
from sqlalchemy import Engine

from control.db.models import Run
from control.db.session import unit_of_work
from control.errors import IllegalMove
from control.records.journal.history import list_events
from control.records.life.feed import ingest
from control.records.life.leases import Outcome, close, start
from control.records.runs.actions import request_action
from control.records.runs.runs import get_run
from control.records.scheduling.claims import Claim
from control.records.scheduling.workers import WorkerIdentity
from control.states import Action
from detco_core.contract.events import CheckpointSaved, Event

Submit = Callable[..., str]


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
