"""Only what is free, usable and of the right kind is chosen."""

from collections.abc import Callable

from sqlalchemy import Engine, update

from control.db.models import Slot
from control.db.session import unit_of_work
from control.records.scheduling.slots import choose, free_slots
from control.records.scheduling.workers import WorkerIdentity


def test_what_is_leased_set_aside_or_for_serving_is_not_free(
    engine: Engine, make_worker: Callable[..., WorkerIdentity], make_run: Callable[..., str]
) -> None:
    make_worker(host="a", train=5, light=1)
    run_id = make_run()
    with unit_of_work(engine) as session:
        session.execute(update(Slot).where(Slot.uuid == "cpu:0").values(run_id=run_id, fence=1))
        session.execute(update(Slot).where(Slot.uuid == "cpu:1").values(set_aside="a stranger uses it"))
        session.execute(update(Slot).where(Slot.uuid == "cpu:2").values(purpose="serve"))
        assert free_slots(session, "a", "train") == 2
        assert free_slots(session, "b", "train") == 0
        found = choose(session, "a", "train", 2, take=True)
        assert found is not None
        assert [slot.uuid for slot in found] == ["cpu:3", "cpu:4"]
        assert choose(session, "a", "train", 3, take=True) is None


def test_several_mig_instances_make_no_run_of_several_processes(
    engine: Engine, make_worker: Callable[..., WorkerIdentity]
) -> None:
    make_worker(host="a", train=0, gpus=("MIG-1", "MIG-2"))
    with unit_of_work(engine) as session:
        assert choose(session, "a", "train", 1, take=False) is not None
        assert choose(session, "a", "train", 2, take=False) is None
