from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from sqlalchemy import Engine, select, update

from control.db.models import DatasetVersion, Run, Slot
from control.db.session import read_only, unit_of_work
from control.records.datasets.datasets import Scan
from control.records.journal.history import list_attempts
from control.records.life.leases import Outcome, close
from control.records.scheduling.claims import Claim, claim, next_for
from control.records.scheduling.drains import drain
from control.records.scheduling.workers import WorkerIdentity, list_slots

Worker = Callable[..., WorkerIdentity]
Taking = Callable[..., Claim | None]


def test_a_claim_raises_the_fence_and_leases_a_slot(
    engine: Engine, make_worker: Worker, make_run: Callable[..., str], fetch_run: Callable[[str], Run]
) -> None:
    worker, run_id = make_worker(), make_run(grace_seconds=7.0)
    with unit_of_work(engine) as session:
        taken = claim(session, worker, "gpu", lease_seconds=60)
    assert taken == Claim(
        run_id=run_id,
        kind="pretrain",
        spec={"config": {}},
        fence=1,
        attempt=1,
        slots=("cpu:0",),
        gpus=(),
        grace_seconds=7.0,
    )
    run = fetch_run(run_id)
    assert (run.state, run.fence, run.attempt, run.lease_owner) == ("starting", 1, 1, worker.id)
    with unit_of_work(engine) as session:
        held = [slot for slot in list_slots(session, "a") if slot.run_id is not None]
        assert [(slot.uuid, slot.run_id, slot.fence) for slot in held] == [("cpu:0", run_id, 1)]
        assert [(attempt.number, attempt.fence, attempt.state) for attempt in list_attempts(session, run_id)] == [
            (1, 1, "starting")
        ]


def test_nothing_is_claimed_without_a_free_slot(
    make_worker: Worker, make_run: Callable[..., str], claim_run: Taking
) -> None:
    worker = make_worker(train=1)
    make_run()
    make_run()
    assert claim_run(worker) is not None
    assert claim_run(worker) is None


def test_priority_then_age_decide(make_worker: Worker, make_run: Callable[..., str], claim_run: Taking) -> None:
    worker = make_worker(train=4)
    ordinary, later, urgent = make_run(), make_run(), make_run(priority=5)
    taken = [claim_run(worker) for _ in range(3)]
    assert [found.run_id for found in taken if found] == [urgent, ordinary, later]


def test_a_run_that_cannot_be_placed_holds_up_none_behind_it(
    make_worker: Worker, make_run: Callable[..., str], claim_run: Taking
) -> None:
    worker = make_worker(train=0, gpus=("GPU-1", "GPU-2"))
    make_run(priority=9, gpus=3)
    pair = make_run(gpus=2)
    taken = claim_run(worker)
    assert taken is not None
    assert (taken.run_id, taken.gpus) == (pair, ("GPU-1", "GPU-2"))


def test_queues_use_their_own_slots(make_worker: Worker, make_run: Callable[..., str], claim_run: Taking) -> None:
    worker = make_worker(train=0, light=1)
    make_run()
    light = make_run(kind="export", spec={"model_version_id": "x"})
    assert claim_run(worker, "gpu") is None
    taken = claim_run(worker, "cpu")
    assert taken is not None
    assert (taken.run_id, taken.slots) == (light, ("light:0",))


def test_a_run_waits_for_its_data_set(
    engine: Engine,
    make_worker: Worker,
    make_run: Callable[..., str],
    make_dataset: Callable[..., Scan],
    claim_run: Taking,
) -> None:
    worker, scan = make_worker(), make_dataset(state="scanning")
    run_id = make_run(dataset_version_id=scan.version.id)
    assert claim_run(worker) is None
    with unit_of_work(engine) as session:
        session.execute(update(DatasetVersion).values(state="ready"))
    taken = claim_run(worker)
    assert taken is not None
    assert taken.run_id == run_id


def test_only_workers_that_see_the_root_claim(
    make_worker: Worker,
    make_run: Callable[..., str],
    make_dataset: Callable[..., Scan],
    claim_run: Taking,
) -> None:
    scan = make_dataset()
    make_run(dataset_version_id=scan.version.id)
    root = scan.version.root
    for blind in ("/elsewhere", root + "x", root[:-1], root.upper()):
        assert claim_run(make_worker(host=blind, roots=(blind,))) is None
    assert claim_run(make_worker(host="b", roots=("/elsewhere", root))) is not None


def test_a_run_waits_for_those_before_it(
    engine: Engine, make_worker: Worker, make_run: Callable[..., str], claim_run: Taking
) -> None:
    worker = make_worker(train=2)
    first = make_run()
    second = make_run(after=(first,), priority=9)
    taken = claim_run(worker)
    assert taken is not None
    assert taken.run_id == first
    assert claim_run(worker) is None
    with unit_of_work(engine) as session:
        assert close(session, first, taken.fence, Outcome(kind="completed", exit_code=0))
    following = claim_run(worker)
    assert following is not None
    assert following.run_id == second


def test_backing_off_and_draining_are_respected(
    engine: Engine, make_worker: Worker, make_run: Callable[..., str], claim_run: Taking
) -> None:
    worker, run_id = make_worker(), make_run()
    taken = claim_run(worker)
    assert taken is not None
    with unit_of_work(engine) as session:
        close(session, run_id, taken.fence, Outcome(kind="lost"))
        assert claim(session, worker, "gpu") is None
        drain(session, worker.id)
    assert claim_run(worker) is None


def test_an_unknown_worker_claims_nothing(make_run: Callable[..., str], claim_run: Taking) -> None:
    make_run()
    assert claim_run(WorkerIdentity(id="wkr_none", host="a")) is None


def test_looking_whether_work_waits_takes_nothing(
    engine: Engine, make_worker: Worker, make_run: Callable[..., str], claim_run: Taking
) -> None:
    worker = make_worker()

    def waiting() -> str | None:
        with read_only(engine) as session:
            return next_for(session, worker, "gpu")

    assert waiting() is None
    run_id = make_run()
    assert waiting() == run_id
    assert waiting() == run_id
    assert claim_run(worker) is not None
    make_run()
    assert waiting() is None, "no slot is free"


def test_each_run_is_claimed_exactly_once_by_many_threads(
    engine: Engine, make_worker: Worker, make_run: Callable[..., str]
) -> None:
    runs = [make_run() for _ in range(24)]
    workers = [make_worker(host=f"h{n}", train=40) for n in range(4)]
    barrier = Barrier(8)

    def take_all(number: int) -> list[str]:
        barrier.wait()
        found: list[str] = []
        while True:
            with unit_of_work(engine) as session:
                taken = claim(session, workers[number % 4], "gpu")
                empty = session.scalar(select(Run.id).where(Run.state == "queued").limit(1)) is None
            if taken is not None:
                found.append(taken.run_id)
            elif empty:
                return found

    with ThreadPoolExecutor(8) as pool:
        claimed = [run_id for found in pool.map(take_all, range(8)) for run_id in found]
    assert Counter(claimed) == Counter(runs)
    with unit_of_work(engine) as session:
        leased = session.scalars(select(Slot.run_id).where(Slot.run_id.is_not(None))).all()
        fences = session.scalars(select(Run.fence)).all()
    assert Counter(leased) == Counter(runs)
    assert set(fences) == {1}
