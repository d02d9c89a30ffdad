from collections.abc import Callable

import pytest
from sqlalchemy import Engine, select

from control.db.models import Checkpoint, Metric, Run
from control.db.session import unit_of_work
from control.records.journal import metrics
from control.records.journal.curves import Wanted, curves
from control.records.journal.history import get_attempt, list_artifacts, list_events
from control.records.life.feed import ingest
from control.records.scheduling.claims import Claim
from control.records.scheduling.workers import WorkerIdentity
from control.storage.base import key_of
from detco_core.contract.events import (
    ArtifactSaved,
    Body,
    CheckpointSaved,
    Event,
    Finished,
    Metrics,
    Progress,
    Reported,
    Started,
    Warned,
)

DIGEST = "ab" * 32


@pytest.fixture
def taken(
    make_worker: Callable[..., WorkerIdentity],
    make_run: Callable[..., str],
    claim_run: Callable[..., Claim | None],
) -> Claim:
    worker = make_worker()
    make_run()
    found = claim_run(worker)
    assert found is not None
    return found


def said(*bodies: Body, first: int = 1) -> list[Event]:
    return [Event(seq, 1_770_000_000.25 + seq, body) for seq, body in enumerate(bodies, first)]


LIFE: tuple[Body, ...] = (
    Started(environment={"torch": "2.15"}),
    Progress(step=1, steps=20, images_per_second=3.5),
    Metrics(step=1, values={"loss": 4.0, "lr": 0.1}),
    Metrics(step=2, values={"loss": 3.0, "lr": 0.1}),
    CheckpointSaved(step=2, epoch=0.5, path="checkpoints/2.pt", bytes=10, sha256=DIGEST),
    ArtifactSaved(name="curve.png", path="curve.png", bytes=5, sha256=DIGEST),
    Warned(code="broken_files", message="two files are broken"),
    Progress(step=2, steps=20, images_per_second=3.0),
    Reported(report={"task": "knn"}),
    Finished(step=2),
)


def test_each_event_means_what_it_says(engine: Engine, taken: Claim, fetch_run: Callable[[str], Run]) -> None:
    with unit_of_work(engine) as session:
        assert ingest(session, taken.run_id, taken.fence, said(*LIFE), 900)
    run = fetch_run(taken.run_id)
    assert run.environment == {"torch": "2.15"}
    assert run.progress is not None
    assert (run.progress["step"], run.progress["images_per_second"]) == (2, 3.0)
    assert run.report == {"task": "knn"}
    assert run.stored_bytes == 15
    with unit_of_work(engine) as session:
        assert get_attempt(session, run.id, taken.fence).event_offset == 900
        events = [event for event in list_events(session, run.id) if event.seq]
        assert [event.type for event in events] == [event.type for event in said(*LIFE)]
        assert [event.seq for event in events] == list(range(1, 11))
        (checkpoint,) = session.scalars(select(Checkpoint))
        assert (checkpoint.step, checkpoint.digest, checkpoint.key) == (2, f"sha256:{DIGEST}", key_of(DIGEST))
        assert [(artifact.name, artifact.bytes) for artifact in list_artifacts(session, run.id)] == [("curve.png", 5)]
        (loss,) = curves(session, Wanted(runs=[run.id], keys=["loss"]))
        assert (loss.steps, loss.values) == ((1, 2), (4.0, 3.0))


def test_the_same_batch_twice_is_harmless(engine: Engine, taken: Claim) -> None:
    def everything() -> list[object]:
        with unit_of_work(engine) as session:
            run = session.get_one(Run, taken.run_id)
            events = [(event.id, event.seq) for event in list_events(session, taken.run_id)]
            points = session.execute(select(Metric.key, Metric.step, Metric.value).order_by(Metric.key, Metric.step))
            return [events, [tuple(point) for point in points], run.stored_bytes, run.progress, run.report]

    with unit_of_work(engine) as session:
        ingest(session, taken.run_id, taken.fence, said(*LIFE), 900)
    once = everything()
    with unit_of_work(engine) as session:
        assert ingest(session, taken.run_id, taken.fence, said(*LIFE), 900)
    with unit_of_work(engine) as session:  # Read again from an older offset: the known ones in front, and doubled.
        assert ingest(session, taken.run_id, taken.fence, said(*LIFE[:3]) + said(*LIFE[:2]), 300)
        assert get_attempt(session, taken.run_id, taken.fence).event_offset == 900
    assert everything() == once


def test_a_failed_batch_leaves_nothing(engine: Engine, taken: Claim) -> None:
    wrong = CheckpointSaved(step=2, epoch=0.5, path="c", bytes=10, sha256="not a digest")
    with pytest.raises(Exception, match="sha256"), unit_of_work(engine) as session:
        ingest(session, taken.run_id, taken.fence, said(LIFE[0], wrong), 10)
    with unit_of_work(engine) as session:
        assert [event for event in list_events(session, taken.run_id) if event.seq] == []
        assert get_attempt(session, taken.run_id, taken.fence).event_offset == 0


def test_what_a_database_cannot_hold_is_replaced(engine: Engine, taken: Claim, fetch_run: Callable[[str], Run]) -> None:
    odd = (
        Started(environment={"nan": float("nan"), "deep": [{"inf": float("inf")}], "text": "a\0b\udcff"}),
        Metrics(step=1, values={"loss": float("nan"), "lr": 0.5, "odd\0key": 1.0}),
        Warned(code="w", message="file \udcff\0"),
    )
    with unit_of_work(engine) as session:
        assert ingest(session, taken.run_id, taken.fence, said(*odd), 10)
    assert fetch_run(taken.run_id).environment == {"nan": None, "deep": [{"inf": None}], "text": "a\ufffdb\ufffd"}
    with unit_of_work(engine) as session:
        assert {key: row.value for key, row in metrics.latest(session, taken.run_id).items()} == {
            "lr": 0.5,
            "odd\ufffdkey": 1.0,
        }


def test_a_checkpoint_saved_again_by_one_attempt_is_one_row(engine: Engine, taken: Claim) -> None:
    saved = [CheckpointSaved(step=2, epoch=1.0, path="c", bytes=1, sha256=digest * 32) for digest in ("aa", "bb")]
    with unit_of_work(engine) as session:
        ingest(session, taken.run_id, taken.fence, said(*saved), 10)
    with unit_of_work(engine) as session:
        assert session.scalars(select(Checkpoint.digest)).all() == ["sha256:" + "bb" * 32]
