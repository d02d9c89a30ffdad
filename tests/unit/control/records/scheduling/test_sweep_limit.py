"""A bounded sweep never has more runs at work than it may, and holds up no other."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import Engine, select

from control.db.models import Run
from control.db.session import read_only, unit_of_work
from control.records.runs.actions import request_action
from control.records.scheduling.claims import Claim, claim
from control.records.scheduling.waiting import Why, why
from control.records.scheduling.workers import WorkerIdentity
from control.records.sweeps.sweeps import cancel_sweep
from tests.unit.control.records.hands import Hands

MakeSweep = Callable[..., str]


def waits_for(engine: Engine, run_id: str) -> Why | None:
    with read_only(engine) as session:
        return why(session, session.get_one(Run, run_id))


def test_the_others_wait_and_hold_up_nobody(
    engine: Engine, make_sweep: MakeSweep, hands: Hands, make_run: Callable[..., str]
) -> None:
    sweep_id = make_sweep(grid={"seed": [1, 2, 3]}, max_parallel=1)
    behind = make_run()
    first = hands.take()
    assert hands.take().run_id == behind
    assert hands.claim_run(hands.worker) is None
    with read_only(engine) as session:
        waiting = session.scalars(
            select(Run.id).where(Run.group == sweep_id, Run.state == "queued").order_by(Run.id)
        ).all()
    found = waits_for(engine, waiting[0])
    assert found == Why("sweep_limit", f"sweep {sweep_id} may have 1 runs at once, and has 1")
    hands.close(first)
    assert waits_for(engine, waiting[0]) != found
    assert hands.take().run_id == waiting[0]


def test_a_paused_run_takes_no_place(engine: Engine, make_sweep: MakeSweep, hands: Hands) -> None:
    make_sweep(max_parallel=1)
    first = hands.take()
    with unit_of_work(engine) as session:
        request_action(session, session.get_one(Run, first.run_id), "pause", "ada")
    assert hands.claim_run(hands.worker) is None
    hands.close(first, "stopped")
    assert hands.take().run_id != first.run_id


def test_claimers_at_once_do_not_overshoot(
    engine: Engine, make_sweep: MakeSweep, make_worker: Callable[..., WorkerIdentity]
) -> None:
    make_sweep(grid={"seed": list(range(8))}, max_parallel=2)
    workers = [make_worker(host=f"h{n}", train=2) for n in range(4)]
    gate = threading.Barrier(4)

    def take(worker: WorkerIdentity) -> list[Claim]:
        gate.wait()
        taken = []
        for _ in range(2):
            with unit_of_work(engine) as session:
                taken.append(claim(session, worker, "gpu"))
        return [one for one in taken if one is not None]

    with ThreadPoolExecutor(4) as pool:
        claims = [one for found in pool.map(take, workers) for one in found]
    assert len(claims) == 2


def test_claiming_and_cancelling_at_once_wait_for_each_other_in_one_order(
    engine: Engine, make_sweep: MakeSweep, hands: Hands
) -> None:
    """One claims a run before it looks at the sweep; were the sweep cancelled first, the two would be in a deadlock."""
    sweep_id = make_sweep(grid={"seed": list(range(6))}, max_parallel=6)
    gate = threading.Barrier(2)

    def take() -> None:
        gate.wait()
        for _ in range(4):
            with unit_of_work(engine) as session:
                claim(session, hands.worker, "gpu")

    def cancel() -> None:
        gate.wait()
        for _ in range(4):
            with unit_of_work(engine) as session:
                cancel_sweep(session, sweep_id, "ada")

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(take), pool.submit(cancel)]:
            done.result()
    with read_only(engine) as session:
        states = set(session.scalars(select(Run.state).where(Run.group == sweep_id)))
    assert states <= {"cancelled", "cancelling"}
