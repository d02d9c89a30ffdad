from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Engine

from control.db.session import unit_of_work
from control.errors import ControlError, InvalidRequest, NotFound, QuotaExceeded
from control.records.access.quotas import Quota, Usage, quota_of, set_quota, usage
from control.records.access.tokens import create_token
from control.records.life.leases import Outcome, close
from control.records.scheduling.claims import Claim, claim
from control.records.scheduling.workers import WorkerIdentity

Submit = Callable[..., str]
Taking = Callable[..., Claim | None]


@pytest.fixture
def token(engine: Engine) -> str:
    with unit_of_work(engine) as session:
        return create_token(session, "ada", ["submit"], "t").token.id


@pytest.fixture
def allow(engine: Engine, token: str) -> Callable[..., None]:
    def give(**quota: int | None) -> None:
        with unit_of_work(engine) as session:
            set_quota(session, token, Quota(**quota))

    return give


def test_a_run_over_quota_waits_and_holds_up_nobody(
    engine: Engine,
    token: str,
    allow: Callable[..., None],
    make_run: Submit,
    make_worker: Callable[..., WorkerIdentity],
    claim_run: Taking,
) -> None:
    worker = make_worker(train=4)
    allow(running=1)
    first, second = make_run(token_id=token, priority=9), make_run(token_id=token, priority=9)
    other = make_run()
    taken = [claim_run(worker), claim_run(worker), claim_run(worker)]
    assert [one.run_id if one else None for one in taken] == [first, other, None]
    with unit_of_work(engine) as session:
        assert usage(session, token) == Usage(running=1, slots=1, queued=1)
        assert taken[0] is not None
        close(session, first, taken[0].fence, Outcome(kind="completed"))
    after = claim_run(worker)
    assert after is not None
    assert after.run_id == second


def test_slots_are_those_of_training(
    token: str,
    allow: Callable[..., None],
    make_run: Submit,
    make_worker: Callable[..., WorkerIdentity],
    claim_run: Taking,
) -> None:
    worker = make_worker(train=4)
    allow(slots=2)
    make_run(token_id=token, gpus=2)
    light = make_run(kind="evaluate", token_id=token)
    waits = make_run(token_id=token)
    assert claim_run(worker) is not None
    assert claim_run(worker) is None
    found = claim_run(worker, "cpu")
    assert found is not None
    assert found.run_id == light
    allow(slots=3)
    assert (found := claim_run(worker)) is not None
    assert found.run_id == waits


def test_what_can_never_be_placed_and_too_many_that_wait_are_refused(
    token: str, allow: Callable[..., None], make_run: Submit
) -> None:
    allow(slots=2, queued=1)
    with pytest.raises(QuotaExceeded, match="needs 3 training slots, and token 'ada' may hold 2"):
        make_run(token_id=token, gpus=3)
    make_run(token_id=token)
    with pytest.raises(QuotaExceeded, match="may have 1 jobs waiting at once"):
        make_run(kind="evaluate", token_id=token)
    make_run()
    allow(queued=0)
    with pytest.raises(QuotaExceeded):
        make_run(token_id=token)


def test_two_who_count_at_once_find_room_for_one(
    engine: Engine, token: str, allow: Callable[..., None], make_run: Submit, make_worker: Callable[..., WorkerIdentity]
) -> None:
    allow(running=1, queued=2)
    workers = [make_worker(host=host) for host in "abcd"]

    def submit(_: int) -> bool:
        try:
            make_run(token_id=token)
        except ControlError:
            return False
        return True

    def take(worker: WorkerIdentity) -> bool:
        with unit_of_work(engine) as session:
            return claim(session, worker, "gpu") is not None

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(submit, range(4))) == 2
        assert sum(pool.map(take, workers)) == 1


def test_quotas_are_checked_and_kept(engine: Engine, token: str) -> None:
    with unit_of_work(engine) as session:
        assert quota_of(set_quota(session, token, Quota(running=2))) == Quota(running=2)
        with pytest.raises(InvalidRequest, match="0 or more"):
            set_quota(session, token, Quota(slots=-1))
        with pytest.raises(NotFound):
            set_quota(session, "tok_none", Quota())
