from collections.abc import Callable
from datetime import timedelta

from sqlalchemy import Engine, update

from control.db.models import Worker
from control.db.session import database_time, unit_of_work
from control.records.paging import Page
from control.records.scheduling.claims import Claim
from control.records.scheduling.drains import drain
from control.records.scheduling.workers import (
    NewSlot,
    WorkerIdentity,
    heartbeat,
    list_slots,
    list_workers,
    offer_slots,
    page_workers,
    retire,
)

Register = Callable[..., WorkerIdentity]


def slots_of(engine: Engine, host: str = "a") -> dict[str, str]:
    with unit_of_work(engine) as session:
        return {slot.uuid: slot.purpose for slot in list_slots(session, host)}


def test_a_workers_life(engine: Engine, make_worker: Register) -> None:
    worker = make_worker()
    with unit_of_work(engine) as session:
        session.execute(update(Worker).values(seen_at=database_time(session) - timedelta(hours=1)))
        assert list_workers(session) == []
        assert heartbeat(session, worker.id) == "active"
        assert [found.id for found in list_workers(session)] == [worker.id]
        drain(session, worker.id)
        assert heartbeat(session, worker.id) == "draining"
        retire(session, worker.id)
        assert heartbeat(session, worker.id) is None
        assert list_workers(session) == []
        assert page_workers(session, Page()).items == []
        assert len(page_workers(session, Page(), alive_only=False).items) == 1
        assert heartbeat(session, "wkr_none") is None


def test_a_host_says_anew_what_it_has(
    engine: Engine, make_worker: Register, make_run: Callable[..., str], claim_run: Callable[..., Claim | None]
) -> None:
    make_run()
    claim_run(make_worker(train=2, light=0))
    with unit_of_work(engine) as session:
        offer_slots(session, "a", [NewSlot(uuid="GPU-1", purpose="train", is_gpu=True)])
    assert slots_of(engine) == {"cpu:0": "train", "GPU-1": "train"}, "the held one stays, the free one is forgotten"


def test_registering_again_keeps_busy_slots_and_forgets_free_ones(
    engine: Engine, make_worker: Register, make_run: Callable[..., str], claim_run: Callable[..., Claim | None]
) -> None:
    make_run()
    claim_run(make_worker(train=2, light=2))
    make_worker(train=0, light=1)
    assert slots_of(engine) == {"cpu:0": "train", "light:0": "light"}
    make_worker(host="b", train=0, light=1)
    assert slots_of(engine, "b") == {"light:0": "light"}
    assert len(slots_of(engine)) == 2


def test_a_slot_is_set_aside_as_long_as_nobody_has_it(
    engine: Engine, make_worker: Register, make_run: Callable[..., str], claim_run: Callable[..., Claim | None]
) -> None:
    worker = make_worker(train=0, light=0, gpus=("GPU-1",))
    used = [NewSlot(uuid="GPU-1", purpose="train", is_gpu=True, set_aside="a stranger uses it")]
    make_run()

    def told() -> str | None:
        with unit_of_work(engine) as session:
            offer_slots(session, "a", used)
            return list_slots(session, "a")[0].set_aside

    assert told() == "a stranger uses it"
    assert claim_run(worker) is None
    with unit_of_work(engine) as session:
        offer_slots(session, "a", [NewSlot(uuid="GPU-1", purpose="train", is_gpu=True)])
    assert claim_run(worker) is not None
    assert told() is None, "what uses it is the run that has it"
