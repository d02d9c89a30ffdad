"""A run of several hosts takes the slots of all or none, and its nodes share one fence."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier

import pytest
from sqlalchemy import Engine, select, update

from control.db.models import AttemptNode, Run, Slot, Worker
from control.db.session import database_time, read_only, unit_of_work
from control.records.datasets.datasets import Scan
from control.records.life import shares
from control.records.life.leases import Outcome, close, look, reap
from control.records.scheduling.claims import Claim, claim, next_for
from control.records.scheduling.drains import drain
from control.records.scheduling.gangs import Trouble, nodes_of, trouble
from control.records.scheduling.workers import WorkerIdentity

Worker_ = Callable[..., WorkerIdentity]
Submit = Callable[..., str]
Taking = Callable[..., Claim | None]


def leased(engine: Engine) -> dict[str, str]:
    """The run of each leased slot, by host and UUID."""
    with read_only(engine) as session:
        held = session.scalars(select(Slot).where(Slot.run_id.is_not(None)).order_by(Slot.host, Slot.uuid))
        return {f"{slot.host}/{slot.uuid}": slot.run_id or "" for slot in held}


def nodes(engine: Engine, run_id: str, fence: int = 1) -> list[AttemptNode]:
    with read_only(engine) as session:
        return nodes_of(session, run_id, [fence])[fence]


def test_one_claim_takes_the_slots_of_every_node(
    engine: Engine, make_worker: Worker_, make_run: Submit, claim_run: Taking
) -> None:
    lead = make_worker(host="a", train=0, gpus=("GPU-1", "GPU-2"))
    make_worker(host="b", train=0, gpus=("GPU-3", "GPU-4", "GPU-5"))
    make_worker(host="c", train=0, gpus=("GPU-6", "GPU-7"))
    run_id = make_run(gpus=2, nodes=2)
    taken = claim_run(lead)
    assert taken is not None
    assert (taken.run_id, taken.node, taken.gpus) == (run_id, 0, ("GPU-1", "GPU-2"))
    # c has fewer to spare than b.
    assert leased(engine) == dict.fromkeys(("a/GPU-1", "a/GPU-2", "c/GPU-6", "c/GPU-7"), run_id)
    first, second = nodes(engine, run_id)
    assert (first.host, first.worker_id, first.state) == ("a", lead.id, "starting")
    assert (second.host, second.worker_id, second.state, second.slots) == ("c", None, "waiting", ["GPU-6", "GPU-7"])
    with read_only(engine) as session:
        assert session.get_one(Run, run_id).slots_wanted == 4


@pytest.mark.parametrize("lack", ["slots", "worker", "roots", "kind", "draining"])
def test_it_takes_nothing_while_one_node_lacks_something(
    engine: Engine,
    make_worker: Worker_,
    make_run: Submit,
    claim_run: Taking,
    make_dataset: Callable[..., Scan],
    lack: str,
) -> None:
    lead = make_worker(host="a")
    roots = ("/elsewhere",) if lack == "roots" else ("/",)
    gpus = ("GPU-1",) if lack == "kind" else ()
    other = make_worker(host="b", train=0 if lack in ("slots", "kind") else 1, gpus=gpus, roots=roots)
    with unit_of_work(engine) as session:
        if lack == "worker":
            late = database_time(session) - timedelta(hours=1)
            session.execute(update(Worker).where(Worker.id == other.id).values(seen_at=late))
        if lack == "draining":
            drain(session, other.id)
    make_run(nodes=2, priority=9, dataset_version_id=make_dataset().version.id)
    assert claim_run(lead) is None
    assert leased(engine) == {}
    behind = make_run()
    with read_only(engine) as session:
        assert next_for(session, lead, "gpu") == behind
    taken = claim_run(lead)
    assert taken is not None
    assert taken.run_id == behind, "a gang that cannot be placed holds up none behind it"


def test_many_gangs_that_cannot_be_placed_hold_up_none(
    make_worker: Worker_, make_run: Submit, claim_run: Taking
) -> None:
    worker = make_worker()
    for _ in range(20):
        make_run(nodes=3, priority=5)
    single = make_run()
    taken = claim_run(worker)
    assert taken is not None
    assert taken.run_id == single


def test_gangs_claimed_at_once_from_all_sides_never_hold_a_part(
    engine: Engine, make_worker: Worker_, make_run: Submit
) -> None:
    workers = [make_worker(host=f"h{number}", train=2) for number in range(4)]
    for _ in range(6):
        make_run(nodes=3)
    barrier = Barrier(4)

    def take(worker: WorkerIdentity) -> list[Claim]:
        barrier.wait()
        found = []
        for _ in range(12):
            with unit_of_work(engine) as session:
                taken = claim(session, worker, "gpu")
            found += [] if taken is None else [taken]
        return found

    with ThreadPoolExecutor(4) as pool:
        claims = [taken for found in pool.map(take, workers) for taken in found]
    held = list(leased(engine).values())
    assert {run_id: held.count(run_id) for run_id in held} == {taken.run_id: 3 for taken in claims}
    assert 1 <= len(claims) <= 2, "eight slots are enough for two gangs of three hosts"


@pytest.fixture
def gang(make_worker: Worker_, make_run: Submit, claim_run: Taking) -> tuple[Claim, WorkerIdentity, WorkerIdentity]:
    """A claimed run of the hosts a and b, and their workers."""
    lead, other = make_worker(host="a"), make_worker(host="b")
    make_run(nodes=2)
    taken = claim_run(lead)
    assert taken is not None
    return taken, lead, other


Gang = tuple[Claim, WorkerIdentity, WorkerIdentity]


def test_node_0_hears_of_a_node_that_is_lost_failed_or_leaves(engine: Engine, gang: Gang) -> None:
    taken, _, other = gang
    key = taken.run_id, taken.fence

    def found(**values: object) -> Trouble | None:
        with unit_of_work(engine) as session:
            now = database_time(session)
            fresh = {"ended_at": None, "reason": None, "lease_expires_at": now + timedelta(seconds=60), **values}
            if "state" in values:
                fresh["ended_at"] = now
            session.execute(update(AttemptNode).where(AttemptNode.node == 1).values(fresh))
            assert trouble(session, *key) == (directive.trouble if (directive := look(session, *key)) else None)
            return trouble(session, *key)

    assert found() is None
    assert found(state="completed") is None
    assert found(state="lost", reason="its runner was killed") == Trouble("lost", "node 1 on b: its runner was killed")
    assert found(state="failed") == Trouble("failed", "node 1 on b: its processes failed")
    assert found(state="preempted") == Trouble("left", "node 1 on b had to leave its worker")
    with unit_of_work(engine) as session:
        # Not now: on SQLite the clock of the next statement may still show the same millisecond.
        long_ago = database_time(session) - timedelta(seconds=1)
        session.execute(update(AttemptNode).values(ended_at=None, lease_expires_at=long_ago))
        assert trouble(session, *key) == Trouble("lost", "node 1 on b was not heard of in time")
    assert other.host == "b"


def test_slots_of_a_node_that_never_began_are_free_with_the_attempts_end(engine: Engine, gang: Gang) -> None:
    taken, _, other = gang
    with unit_of_work(engine) as session:
        assert close(session, taken.run_id, taken.fence, Outcome(kind="lost", message="node 1 was lost"))
        assert shares.take_share(session, other) is None
    assert leased(engine) == {}
    assert [node.state for node in nodes(engine, taken.run_id)] == ["lost", "lost"]
    with read_only(engine) as session:
        run = session.get_one(Run, taken.run_id)
        assert (run.state, run.losses, run.attempt) == ("queued", 1, 1)


@pytest.mark.parametrize("lost", [False, True])
def test_slots_of_a_node_still_at_work_are_free_when_it_ends_or_is_lost(
    engine: Engine, gang: Gang, claim_run: Taking, lost: bool
) -> None:
    taken, lead, other = gang
    with unit_of_work(engine) as session:
        assert shares.take_share(session, other, lease_seconds=-1 if lost else 60) is not None
        assert close(session, taken.run_id, taken.fence, Outcome(kind="lost"))
    assert leased(engine) == {"b/cpu:0": taken.run_id}
    assert claim_run(lead) is None, "b is not free yet"
    with unit_of_work(engine) as session:
        if lost:
            assert shares.reap(session) == [taken.run_id]
        else:
            assert shares.reap(session) == []
            assert shares.end(session, taken.run_id, taken.fence, 1, Outcome(kind="stopped"))
    assert leased(engine) == {}
    again = claim_run(lead)
    assert again is not None
    assert (again.run_id, again.fence) == (taken.run_id, 2)


def test_a_gang_whose_leader_is_lost_is_taken_back_once(engine: Engine, gang: Gang) -> None:
    taken, _, other = gang
    with unit_of_work(engine) as session:
        assert shares.take_share(session, other) is not None
        session.execute(update(Run).values(lease_expires_at=database_time(session) - timedelta(seconds=1)))
        assert reap(session) == [taken.run_id]
        assert reap(session) == []
        assert shares.look(session, taken.run_id, taken.fence, 1) is None, "the others see that it is over"
