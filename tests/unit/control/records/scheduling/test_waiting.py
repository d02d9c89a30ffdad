from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import Engine, update

from control.db.models import DatasetVersion, Run, Slot, Worker
from control.db.session import database_time, unit_of_work
from control.records.access.quotas import Quota, set_quota
from control.records.access.tokens import create_token
from control.records.datasets.datasets import Scan
from control.records.life.leases import Outcome, close
from control.records.runs.actions import request_action
from control.records.runs.runs import get_run
from control.records.scheduling.claims import Claim
from control.records.scheduling.waiting import queue_position, why
from control.records.scheduling.workers import WorkerIdentity

Submit = Callable[..., str]
Taking = Callable[..., Claim | None]


@pytest.fixture
def told(engine: Engine) -> Callable[[str], tuple[str, str]]:
    """The word and the sentence; both empty for a run that does not wait."""

    def tell(run_id: str) -> tuple[str, str]:
        with unit_of_work(engine) as session:
            found = why(session, get_run(session, run_id))
            return (found.reason, found.detail) if found else ("", "")

    return tell


def test_the_queue_position_follows_priority_then_age(engine: Engine, make_run: Submit) -> None:
    first, second, urgent = make_run(), make_run(), make_run(priority=1)
    make_run(kind="export")
    with unit_of_work(engine) as session:
        positions = {run_id: queue_position(session, get_run(session, run_id)) for run_id in (first, second, urgent)}
        assert positions == {urgent: 1, first: 2, second: 3}


def test_who_waits_for_something_else_is_not_before_anybody(
    engine: Engine, make_run: Submit, make_dataset: Callable[..., Scan]
) -> None:
    scan = make_dataset(state="scanning")
    light = make_run(kind="evaluate")
    make_run(priority=9, dataset_version_id=scan.version.id)
    make_run(priority=9, after=(light,))
    with unit_of_work(engine) as session:
        token = create_token(session, "ada", ["submit"], "t").token.id
        set_quota(session, token, Quota(running=0))
    make_run(priority=9, token_id=token)
    last = make_run()
    with unit_of_work(engine) as session:
        assert queue_position(session, get_run(session, last)) == 1


def test_why_a_run_waits(
    engine: Engine,
    make_run: Submit,
    make_worker: Callable[..., WorkerIdentity],
    make_dataset: Callable[..., Scan],
    claim_run: Taking,
    told: Callable[[str], tuple[str, str]],
) -> None:
    scan = make_dataset(state="scanning")
    first = make_run(dataset_version_id=scan.version.id)
    second = make_run(after=(first,))
    assert told(second) == ("after", f"it comes after {first} (queued)")
    with unit_of_work(engine) as session:
        session.execute(update(Run).where(Run.id == scan.run.id).values(progress={"step": 3, "steps": 4}))
    assert told(first) == (
        "dataset_scanning",
        f"data set photos@1 is being scanned by {scan.run.id} (queued, 75 % done)",
    )
    with unit_of_work(engine) as session:
        session.execute(update(DatasetVersion).values(state="ready"))
        later = database_time(session) + timedelta(seconds=60)
        session.execute(update(Run).where(Run.id == first).values(not_before=later, reason="it broke"))
    assert told(first) == ("backing_off", "it is tried again in 60 s: it broke")
    with unit_of_work(engine) as session:
        session.execute(update(Run).values(not_before=None))
    assert told(first) == ("no_worker", "no worker was heard of in the last 60 s: start one")
    make_worker(host="b", roots=("/elsewhere",))
    place = scan.version.root
    assert told(first) == ("dataset_out_of_reach", f"none of the 1 workers reads {place}: start one that does")
    worker = make_worker(train=0, gpus=("GPU-1",))
    assert told(first) == ("wake_up", "a worker takes it at its next look")
    other = make_run(priority=9)
    claim_run(worker)
    assert told(other) == ("", "")
    reason, detail = told(first)
    assert (reason, detail.rpartition(" ")[2]) == ("no_free_slot", other)
    assert told(make_run(gpus=2)) == (
        "too_few_slots",
        "it needs 2 training slots on one host, and in reach are only 1, busy or free",
    )
    large, wide = make_run(gpus=2), make_run(nodes=2, dataset_version_id=scan.version.id)
    assert told(wide)[1] == "it needs 1 training slots on each of 2 hosts, and in reach are only 0, busy or free"
    make_worker(host="c", train=0, gpus=("GPU-2", "GPU-3"))
    assert (told(large)[0], told(wide)[0]) == ("wake_up", "no_free_slot")
    with unit_of_work(engine) as session:
        session.execute(update(Slot).where(Slot.uuid == "GPU-3").values(set_aside="a stranger uses it"))
    assert told(large)[1].endswith("and 1 can be used; GPU-3 of c: a stranger uses it")
    with unit_of_work(engine) as session:
        session.execute(update(Worker).where(Worker.host == "c").values(state="gone"))
    with unit_of_work(engine) as session:
        session.execute(update(Worker).where(Worker.host != "c").values(state="draining"))
    assert told(first)[1].endswith("2 are leaving and take nothing new: start one")
    with unit_of_work(engine) as session:
        assert queue_position(session, get_run(session, other)) is None
        session.execute(update(Worker).values(seen_at=database_time(session) - timedelta(hours=1)))
    assert told(first)[0] == "no_worker"


def test_a_quota_is_named_with_what_it_bounds(
    engine: Engine,
    make_run: Submit,
    make_worker: Callable[..., WorkerIdentity],
    claim_run: Taking,
    told: Callable[[str], tuple[str, str]],
) -> None:
    with unit_of_work(engine) as session:
        token = create_token(session, "ada", ["submit"], "t").token.id
    runs = [make_run(token_id=token) for _ in range(2)]
    claim_run(make_worker(train=4))
    with unit_of_work(engine) as session:
        set_quota(session, token, Quota(running=1))
    assert told(runs[1]) == ("quota", "token 'ada' may have 1 jobs running at once, and has 1")
    with unit_of_work(engine) as session:
        set_quota(session, token, Quota(slots=1))
    expected = "token 'ada' may hold 1 training slots at once, and has 1; this needs 1"
    assert told(runs[1]) == ("quota", expected)
    with unit_of_work(engine) as session:
        set_quota(session, token, Quota())
    assert told(runs[1])[0] == "wake_up"


def test_who_makes_room_is_named(
    engine: Engine,
    make_run: Submit,
    make_worker: Callable[..., WorkerIdentity],
    claim_run: Taking,
    told: Callable[[str], tuple[str, str]],
) -> None:
    guest = make_run()
    found = claim_run(make_worker())
    assert found is not None
    asker = make_run(priority=1, preempt=True)
    with unit_of_work(engine) as session:
        session.execute(update(Run).where(Run.id == guest).values(desired_state="preempt"))
        session.execute(update(Run).where(Run.id == asker).values(reserved_host="a"))
    assert told(asker) == ("making_room", f"{guest} saves and makes room on a")
    with unit_of_work(engine) as session:
        close(session, guest, found.fence, Outcome(kind="stopped"))
        session.execute(update(Slot).where(Slot.purpose == "train").values(purpose="serve"))
    assert told(asker)[0] == "too_few_slots"
    with unit_of_work(engine) as session:
        request_action(session, get_run(session, asker), "pause", "t")
    assert told(asker) == ("", "")


def test_a_scan_does_not_wait_for_itself(
    make_dataset: Callable[..., Scan],
    make_worker: Callable[..., WorkerIdentity],
    told: Callable[[str], tuple[str, str]],
) -> None:
    scan = make_dataset(state="scanning")
    make_worker()
    assert told(scan.run.id)[0] == "wake_up"
