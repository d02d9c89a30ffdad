from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import Engine, update

from control.db.models import Slot, Worker
from control.db.session import database_time, unit_of_work
from control.errors import Conflict
from control.records.claims import Claim
from control.records.workers import (
    NewSlot,
    WorkerIdentity,
    drain,
    heartbeat,
    keep_for_serving,
    list_slots,
    list_workers,
    offer_slots,
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
        assert len(list_workers(session, alive_only=False)) == 1
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


def test_gpus_are_kept_for_serving_until_given_back(
    engine: Engine, make_worker: Register, make_run: Callable[..., str], claim_run: Callable[..., Claim | None]
) -> None:
    gpus = [NewSlot(uuid=f"GPU-{n}", purpose="train", is_gpu=True) for n in (1, 2)]
    with unit_of_work(engine) as session:
        keep_for_serving(session, "a", gpus[:1])
    worker = make_worker(train=0, light=0, gpus=("GPU-1", "GPU-2"))
    assert slots_of(engine) == {"GPU-1": "serve", "GPU-2": "train"}
    make_run(gpus=2)
    assert claim_run(worker) is None
    make_run(gpus=1)
    found = claim_run(worker)
    assert found is not None
    assert found.gpus == ("GPU-2",)
    with pytest.raises(Conflict, match="GPU-2 of a is held by run"), unit_of_work(engine) as session:
        keep_for_serving(session, "a", gpus)
    with unit_of_work(engine) as session:
        keep_for_serving(session, "a", [])
        assert session.get_one(Slot, ("a", "GPU-1")).purpose == "train"
