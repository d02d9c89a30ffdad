from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy import Engine, event, select

from control.db.models import Run
from control.db.session import read_only, unit_of_work
from control.records.access.quotas import Quota, set_quota
from control.records.access.tokens import create_token
from control.records.scheduling.claims import Claim
from control.records.scheduling.surroundings import Surroundings
from control.records.scheduling.waiting import queue_position, why
from control.records.scheduling.workers import WorkerIdentity


@contextmanager
def statements(engine: Engine) -> Iterator[list[str]]:
    """What the database is asked while the block runs."""
    said: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        said.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield said
    finally:
        event.remove(engine, "before_cursor_execute", note)


def test_runs_together_wait_for_what_each_waits_for_alone(
    engine: Engine,
    make_run: Callable[..., str],
    make_worker: Callable[..., WorkerIdentity],
    claim_run: Callable[..., Claim | None],
) -> None:
    worker = make_worker(train=2)
    with unit_of_work(engine) as session:
        token = create_token(session, "limited", ["submit"], "tester").token.id
        set_quota(session, token, Quota(running=0))
    held = make_run(priority=9)
    assert claim_run(worker) is not None
    for priority in (0, 3, 0, -1):
        make_run(priority=priority)
        make_run(priority=priority, after=(held,))
        make_run(priority=priority, token_id=token)
        make_run(priority=priority, gpus=50)
        make_run(kind="export")
    with read_only(engine) as session:
        runs = session.scalars(select(Run).order_by(Run.id)).all()
        alone = {run.id: (why(session, run), queue_position(session, run)) for run in runs}
        around = Surroundings(session, runs)
        together = {run.id: (why(session, run, around), queue_position(session, run, around)) for run in runs}
    assert together == alone
    assert {reason.reason for reason, _ in alone.values() if reason} >= {"after", "quota", "too_few_slots", "wake_up"}
    with statements(engine) as said, read_only(engine) as session:
        found = session.scalars(select(Run)).all()
        around = Surroundings(session, found)
        for run in found:
            why(session, run, around)
            queue_position(session, run, around)
    assert len(said) <= 14, said
