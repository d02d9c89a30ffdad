from collections.abc import Callable
from datetime import timedelta

from sqlalchemy import Engine, update

from control.db.models import DatasetVersion, Run, Worker
from control.db.session import database_time, unit_of_work
from control.records.claims import Claim
from control.records.datasets import Scan
from control.records.runs import get_run
from control.records.waiting import queue_position, waiting_reason
from control.records.workers import WorkerIdentity

Submit = Callable[..., str]


def test_the_queue_position_follows_priority_then_age(engine: Engine, make_run: Submit) -> None:
    first, second, urgent = make_run(), make_run(), make_run(priority=1)
    make_run(kind="export")
    with unit_of_work(engine) as session:
        positions = {run_id: queue_position(session, get_run(session, run_id)) for run_id in (first, second, urgent)}
        assert positions == {urgent: 1, first: 2, second: 3}


def test_why_a_run_waits(
    engine: Engine,
    make_run: Submit,
    make_worker: Callable[..., WorkerIdentity],
    make_dataset: Callable[..., Scan],
    claim_run: Callable[..., Claim | None],
) -> None:
    scan = make_dataset(state="scanning")
    first = make_run(dataset_version_id=scan.version.id)
    second = make_run(after=(first,))

    def why(run_id: str) -> str | None:
        with unit_of_work(engine) as session:
            return waiting_reason(session, get_run(session, run_id))

    assert why(second) == "after"
    assert why(first) == "dataset_scanning"
    with unit_of_work(engine) as session:
        session.execute(update(DatasetVersion).values(state="ready"))
        session.execute(update(Run).values(not_before=database_time(session) + timedelta(seconds=60)))
    assert why(first) == "backing_off"
    with unit_of_work(engine) as session:
        session.execute(update(Run).values(not_before=None))
    assert why(first) == "no_worker"
    make_worker(host="b", roots=("/elsewhere",))
    assert why(first) == "dataset_out_of_reach"
    worker = make_worker(train=0, gpus=("GPU-1",))
    assert why(first) == "wake_up"
    other = make_run(priority=9)
    claim_run(worker)
    assert why(other) is None
    assert why(first) == "no_free_slot"
    with unit_of_work(engine) as session:
        assert queue_position(session, get_run(session, other)) is None
        session.execute(update(Worker).values(seen_at=database_time(session) - timedelta(hours=1)))
    assert why(first) == "no_worker"


def test_a_scan_does_not_wait_for_itself(
    engine: Engine, make_dataset: Callable[..., Scan], make_worker: Callable[..., WorkerIdentity]
) -> None:
    scan = make_dataset(state="scanning")
    make_worker()
    with unit_of_work(engine) as session:
        assert waiting_reason(session, get_run(session, scan.run.id)) == "wake_up"
