"""A worker is announced, says that it lives, and is announced again when it was forgotten."""

import os

from sqlalchemy import delete, event, update

from control.db.models import Slot, Worker
from control.db.session import unit_of_work
from control.records.scheduling import claims
from tests.unit.worker.upkeep.scene import Scene


def test_registering_announces_worker_and_slots(scene: Scene) -> None:
    row = scene.house.ask(lambda s: s.get_one(Worker, scene.shared.identity().id))
    assert (row.host, row.pid, row.state) == ("host", os.getpid(), "active")
    assert row.roots == list(scene.house.settings.resolved_dataset_roots)
    assert scene.slots() == ["cpu:0", "light:0", "light:1"]


def test_a_worker_that_was_forgotten_registers_again(scene: Scene) -> None:
    first = scene.shared.identity()
    scene.upkeep.presence.beat()
    assert scene.shared.identity() == first
    with unit_of_work(scene.house.engine) as session:
        session.execute(delete(Worker).where(Worker.id == first.id))
    scene.upkeep.presence.beat()
    assert scene.shared.identity() != first


def test_a_beat_never_locks_worker_and_slots_together(scene: Scene) -> None:
    """A claim locks them in the other order: on PostgreSQL the two were found in a deadlock."""
    touched: list[str] = []

    @event.listens_for(scene.house.engine, "before_cursor_execute")
    def note(_: object, __: object, statement: str, *___: object) -> None:
        touched.extend(word for word in ("UPDATE workers", "FROM slots") if word in statement)

    event.listen(scene.house.engine, "commit", lambda _: touched.append("commit"))
    scene.upkeep.presence.beat()
    assert touched[:3] == ["UPDATE workers", "commit", "FROM slots"]


def test_a_beat_brings_slots_back(scene: Scene) -> None:
    with unit_of_work(scene.house.engine) as session:
        session.execute(delete(Slot))
    scene.upkeep.presence.beat()
    assert scene.slots() == ["cpu:0", "light:0", "light:1"]


def test_a_beat_repeats_the_wish_of_a_drain(scene: Scene) -> None:
    scene.house.pretraining()
    with unit_of_work(scene.house.engine) as session:
        claim = claims.claim(session, scene.shared.identity(), "gpu")
    assert claim is not None
    with unit_of_work(scene.house.engine) as session:  # as if the claim had been committed a moment later
        session.execute(update(Worker).values(state="draining", preempting=True))
    scene.upkeep.presence.beat()
    assert scene.house.run(claim.run_id).desired_state == "preempt"
