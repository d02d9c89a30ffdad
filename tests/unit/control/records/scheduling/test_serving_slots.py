"""A server process leases its GPUs beside training; each is only one's at a time."""

from collections.abc import Callable

from sqlalchemy import Engine, update

from control.db.models import Slot
from control.db.session import database_time, unit_of_work
from control.records.life.leases import Outcome, close
from control.records.scheduling.claims import Claim
from control.records.scheduling.serving_slots import lease, reap, release
from control.records.scheduling.workers import NewSlot, WorkerIdentity, list_slots, offer_slots

GPUS = [NewSlot(uuid=f"GPU-{n}", purpose="serve", is_gpu=True) for n in (1, 2)]
Register = Callable[..., WorkerIdentity]
Taking = Callable[..., Claim | None]


def slots_of(engine: Engine, host: str = "a") -> dict[str, tuple[str, str | None]]:
    with unit_of_work(engine) as session:
        return {slot.uuid: (slot.purpose, slot.holder) for slot in list_slots(session, host) if slot.is_gpu}


def test_training_is_never_given_them(
    engine: Engine, make_worker: Register, make_run: Callable[..., str], claim_run: Taking
) -> None:
    with unit_of_work(engine) as session:
        assert lease(session, "a", GPUS[:1], "a:1") == []
    worker = make_worker(train=0, light=0, gpus=("GPU-1", "GPU-2"))
    assert slots_of(engine) == {"GPU-1": ("serve", "a:1"), "GPU-2": ("train", None)}
    make_run()
    make_run()
    taken = claim_run(worker)
    assert taken is not None
    assert taken.gpus == ("GPU-2",)
    assert claim_run(worker) is None
    with unit_of_work(engine) as session:
        release(session, "a", "a:1")
    again = claim_run(worker)
    assert again is not None
    assert again.gpus == ("GPU-1",)


def test_one_that_a_run_has_is_kept_from_the_next_and_told(
    engine: Engine, make_worker: Register, make_run: Callable[..., str], claim_run: Taking
) -> None:
    worker = make_worker(train=0, light=0, gpus=("GPU-1",))
    run_id = make_run()
    taken = claim_run(worker)
    assert taken is not None
    with unit_of_work(engine) as session:
        assert lease(session, "a", GPUS[:1], "a:1") == [
            f"GPU GPU-1 of a is held by run {run_id} until that ends or is paused"
        ]
        close(session, run_id, taken.fence, Outcome(kind="preempted"))
        assert lease(session, "a", GPUS[:1], "a:1") == []
    assert claim_run(worker) is None


def test_two_server_processes_do_not_share_one(engine: Engine) -> None:
    with unit_of_work(engine) as session:
        assert lease(session, "a", GPUS[:1], "a:1") == []
        assert lease(session, "a", GPUS, "a:2") == ["GPU GPU-1 of a is leased by the server process a:1"]
        assert lease(session, "b", GPUS, "b:1") == []
    assert slots_of(engine) == {"GPU-1": ("serve", "a:1"), "GPU-2": ("serve", "a:2")}
    with unit_of_work(engine) as session:
        session.execute(update(Slot).where(Slot.host == "a").values(expires_at=database_time(session)))
        assert lease(session, "a", GPUS, "a:2") == []
    assert set(slots_of(engine).values()) == {("serve", "a:2")}


def test_those_of_a_process_that_is_gone_are_trainings_again(engine: Engine) -> None:
    with unit_of_work(engine) as session:
        lease(session, "a", GPUS[:1], "a:1", seconds=-1)
        lease(session, "a", GPUS[1:], "a:2")
        assert reap(session) == 1
        assert reap(session) == 0
    assert slots_of(engine) == {"GPU-1": ("train", None), "GPU-2": ("serve", "a:2")}


def test_a_beat_of_the_hosts_worker_leaves_a_lease_alone(engine: Engine) -> None:
    with unit_of_work(engine) as session:
        lease(session, "a", GPUS, "a:1")
        offer_slots(session, "a", [NewSlot(uuid="GPU-1", purpose="train", is_gpu=True, set_aside="a stranger")])
        assert [slot.set_aside for slot in list_slots(session, "a")] == [None, None]
    assert set(slots_of(engine).values()) == {("serve", "a:1")}
    with unit_of_work(engine) as session:
        release(session, "a", "a:1")
        offer_slots(session, "a", [NewSlot(uuid="GPU-1", purpose="train", is_gpu=True, set_aside="a stranger")])
        assert [(slot.uuid, slot.set_aside) for slot in list_slots(session, "a")] == [("GPU-1", "a stranger")]
