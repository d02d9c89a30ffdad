"""A guard that is taken out of the service shows in what is judged, read from real tables."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, update

from benchmarks.chaos.audit import Facts, audit, read_tables
from benchmarks.chaos.sabotage import sabotage
from control.db.migrate import upgrade
from control.db.models import Run
from control.db.session import database_time, open_engine, unit_of_work
from control.records.life import feed, leases
from control.records.life.leases import Outcome
from control.records.runs.submission import NewRun, create_run
from control.records.scheduling.claims import claim
from control.records.scheduling.workers import NewSlot, NewWorker, register
from detco_core.contract.events import Event, Metrics

ONE_WRITER = "one writer: no row under another's fence"
NO_LEAK = "no slot leaked"


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = open_engine(f"sqlite:///{tmp_path / 'detco.sqlite3'}")
    upgrade(made)
    yield made
    made.dispose()


@pytest.fixture(autouse=True)
def whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a sabotage changes is put back."""
    for room, name in ((leases, "lock_held"), (feed, "lock_held"), (leases, "_held"), (leases, "_free")):
        monkeypatch.setattr(room, name, getattr(room, name))


def say(engine: Engine, run: str, fence: int, seq: int) -> None:
    """What the attempt of this fence says, whoever has the run by now."""
    with unit_of_work(engine) as session:
        feed.ingest(session, run, fence, [Event(seq, 0.0, Metrics(step=seq, values={"fence": float(fence)}))], seq)


def a_stale_writer(engine: Engine) -> Facts:
    """One run, taken from its first attempt, which goes on writing, and completed by its second."""
    with unit_of_work(engine) as session:
        slots = (NewSlot(uuid="cpu:0", purpose="train"), NewSlot(uuid="cpu:1", purpose="train"))
        worker = register(session, NewWorker(host="a", pid=1, software="0", roots=("/",), slots=slots))
        run = create_run(session, NewRun(kind="pretrain", spec={"config": {}}, actor="tester")).id
    fences = []
    for seq in (1, 2):
        with unit_of_work(engine) as session:
            session.execute(update(Run).values(not_before=None))
            taken = claim(session, worker, "gpu")
            assert taken is not None
            fences.append(taken.fence)
        say(engine, run, taken.fence, seq)
        with unit_of_work(engine) as session:
            if seq == 1:
                session.execute(update(Run).values(lease_expires_at=database_time(session) - timedelta(seconds=9)))
                assert leases.reap(session) == [run]
    say(engine, run, fences[0], 3)
    with unit_of_work(engine) as session:
        leases.close(session, run, fences[1], Outcome(kind="completed"))
    runs, leaked, unsent = read_tables(engine)
    empty: dict[str, Any] = {
        "ledger": {},
        "frozen": set(),
        "messages": {},
        "most_messages": 0,
        "left": [],
        "refusals": {},
    }
    return Facts(submitted={run: None}, runs=runs, leaked_slots=leaked, unsent=unsent, **empty)


def test_nothing_is_found_in_a_whole_service(engine: Engine) -> None:
    found = audit(a_stale_writer(engine))
    assert (found[ONE_WRITER], found[NO_LEAK]) == ([], [])


def test_without_the_fence_another_writer_is_found(engine: Engine) -> None:
    sabotage("fence")
    (fault,) = audit(a_stale_writer(engine))[ONE_WRITER]
    assert "what attempt 1 said stands under" in fault


def test_slots_that_are_not_given_back_are_found(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("random.random", lambda: 0.0)
    sabotage("slots")
    assert len(audit(a_stale_writer(engine))[NO_LEAK]) == 2
