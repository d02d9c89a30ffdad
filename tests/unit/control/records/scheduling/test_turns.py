"""A large run gets its place in the end, however many small ones come; and holds up nobody it need not."""

from collections import deque
from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import Engine, update

from control.db.models import Run
from control.db.session import database_time, read_only, unit_of_work
from control.records.life.leases import Outcome, close
from control.records.runs.runs import get_run
from control.records.scheduling.claims import Claim
from control.records.scheduling.drains import drain
from control.records.scheduling.turns import WAITED_SECONDS, next_turn
from control.records.scheduling.waiting import why
from control.records.scheduling.workers import WorkerIdentity

Submit = Callable[..., str]
Register = Callable[..., WorkerIdentity]
Taking = Callable[..., Claim | None]


@pytest.fixture
def make_old(engine: Engine, make_run: Submit) -> Submit:
    """Submits a run that has waited long enough."""

    def make(**fields: object) -> str:
        run_id = make_run(**fields)
        with unit_of_work(engine) as session:
            long_ago = database_time(session) - timedelta(seconds=WAITED_SECONDS + 1)
            session.execute(update(Run).where(Run.id == run_id).values(created_at=long_ago))
        return run_id

    return make


def end(engine: Engine, done: Claim) -> None:
    with unit_of_work(engine) as session:
        assert close(session, done.run_id, done.fence, Outcome(kind="completed"))


def hosts_of_turn(engine: Engine) -> set[str]:
    with read_only(engine) as session:
        turn = next_turn(session, "gpu", "train", database_time(session))
        return set() if turn is None else set(turn.hosts)


def told(engine: Engine, run_id: str) -> tuple[str, str]:
    with read_only(engine) as session:
        found = why(session, get_run(session, run_id))
        assert found is not None
        return found.reason, found.detail


@pytest.mark.parametrize("wanted", [{"nodes": 2, "gpus": 2}, {"gpus": 2}], ids=str)
def test_a_large_run_is_not_starved_by_a_stream_of_small_ones(
    engine: Engine, make_worker: Register, make_run: Submit, make_old: Submit, claim_run: Taking, wanted: dict[str, int]
) -> None:
    """On each of three hosts small runs end one after the other, never two at once, and more are always waiting."""
    workers = {host: make_worker(host=host, train=2) for host in ("a", "b", "c")}
    busy: deque[tuple[str, Claim]] = deque()

    def take_all(host: str) -> set[str]:
        taken = set()
        while (found := claim_run(workers[host])) is not None:
            busy.append((host, found))
            taken.add(found.run_id)
        return taken

    def goes_on(large: str, ends: int) -> bool:
        for _ in range(ends):
            host, done = busy.popleft()
            end(engine, done)
            make_run()
            if large in take_all(host):
                return True
        return False

    for _ in range(7):
        make_run()
    for host in workers:
        take_all(host)
    assert not goes_on(make_run(**wanted), 7), "the test is one: before its time it gets nothing"
    large = make_old(**wanted)
    assert goes_on(large, 20)
    with read_only(engine) as session:
        assert get_run(session, large).state == "starting"


def test_what_must_leave_it_room_says_so_and_what_need_not_goes_on(
    engine: Engine, make_worker: Register, make_run: Submit, make_old: Submit, claim_run: Taking
) -> None:
    a, b, c = (make_worker(host=host, train=2) for host in ("a", "b", "c"))
    for worker in (a, a, b, b):
        make_run()
        assert claim_run(worker) is not None
    held = make_run(priority=9)
    first = claim_run(b)
    assert first is None
    gang = make_old(nodes=2, gpus=2)
    assert hosts_of_turn(engine) == {"a", "b"}
    assert told(engine, gang)[0] == "no_free_slot"
    assert told(engine, gang)[1].endswith("what comes free on a, b is kept for it")
    assert (found := claim_run(c)) is not None
    assert found.run_id == held, "more urgent ones go before it"
    small = make_run()
    assert (found := claim_run(c)) is not None
    assert found.run_id == small, "a host that is not kept takes anything"
    with unit_of_work(engine) as session:
        running = session.query(Run).filter(Run.lease_host == "a", Run.state == "starting").first()
        assert running is not None
        assert close(session, running.id, running.fence, Outcome(kind="completed"))
    later = make_run()
    assert claim_run(a) is None
    assert told(engine, later) == ("room_kept", f"what is free on a, b is kept for {gang}, a large run")
    urgent = make_run(priority=5)
    assert told(engine, urgent)[0] == "wake_up"
    assert (found := claim_run(a)) is not None
    assert found.run_id == urgent


def test_small_ones_fit_beside_it(
    engine: Engine, make_worker: Register, make_run: Submit, make_old: Submit, claim_run: Taking
) -> None:
    a, b = make_worker(host="a", train=2), make_worker(host="b", train=1)
    make_run()
    assert claim_run(b) is not None
    make_old(nodes=2)
    assert hosts_of_turn(engine) == {"a", "b"}
    beside = make_run()
    assert (found := claim_run(a)) is not None
    assert found.run_id == beside, "one of its two slots is enough"
    make_run()
    assert claim_run(a) is None


def test_a_younger_gang_takes_no_part_of_a_host_that_is_kept(
    engine: Engine, make_worker: Register, make_run: Submit, make_old: Submit, claim_run: Taking
) -> None:
    for host in ("a", "b"):
        worker = make_worker(host=host, train=2)
        make_run()
        assert claim_run(worker) is not None
    c = make_worker(host="c", train=1)
    make_old(nodes=2, gpus=2)
    younger = make_run(nodes=2)
    assert hosts_of_turn(engine) == {"a", "b"}
    assert claim_run(c) is None
    make_worker(host="d", train=1)
    assert (found := claim_run(c)) is not None
    assert found.run_id == younger, "c and d are enough"


def test_what_fits_nowhere_keeps_nothing_and_a_leaving_host_is_not_kept(
    engine: Engine, make_worker: Register, make_old: Submit, make_run: Submit, claim_run: Taking
) -> None:
    a, b = make_worker(host="a"), make_worker(host="b")
    make_old(nodes=5)
    assert hosts_of_turn(engine) == set()
    small = make_run()
    assert (found := claim_run(a)) is not None
    assert found.run_id == small
    make_old(nodes=2)
    assert hosts_of_turn(engine) == {"a", "b"}
    with unit_of_work(engine) as session:
        drain(session, b.id)
    assert hosts_of_turn(engine) == set()
