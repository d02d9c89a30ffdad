"""Due checkpoints are evaluated once each, whatever happens to the run meanwhile."""

from collections.abc import Callable

from sqlalchemy import Engine, select, update

from control.db.models import Checkpoint, DatasetVersion, Run
from control.db.session import read_only, unit_of_work
from control.records.life import leases
from control.records.life.leases import Outcome
from control.records.planning.monitors import coarse, plan_monitor
from control.records.scheduling.claims import Claim
from control.records.scheduling.workers import WorkerIdentity
from detco_core.contract.config import override
from detco_core.contract.presets import smoke
from tests.unit.control.records.watched import Watched


def test_the_first_checkpoint_since_a_multiple_is_evaluated(watched: Watched) -> None:
    claim = watched.take()
    watched.save(claim, 0.5, 1.5, 2.0, 2.5, 3.9999999, 4.5, 8.3)
    assert watched.evaluated() == [(1, 20), (2, 40), (4, 83)]
    with read_only(watched.engine) as session:
        made = session.scalars(select(Run).where(Run.kind == "evaluate").order_by(Run.id)).all()
        first = session.scalar(select(Checkpoint).where(Checkpoint.step == 20))
    assert first is not None
    assert made[0].spec["source"] == {"run": watched.run_id, "checkpoint_id": first.id}
    assert {(run.created_by, run.group, run.priority, run.labels["a"]) for run in made} == {("tester", "g", 3, "b")}
    assert made[0].name == f"{watched.run_id} at epoch 2"


def test_the_end_is_evaluated_too_but_not_twice(watched: Watched) -> None:
    claim = watched.take()
    watched.save(claim, 0.5, 1.0)
    watched.close(claim)
    assert watched.evaluated() == [(0, 10)]


def test_an_end_that_was_due_is_evaluated_once(watched: Watched) -> None:
    claim = watched.take()
    watched.save(claim, 2.0)
    watched.close(claim)
    assert watched.evaluated() == [(1, 20)]


def test_a_resume_that_passes_the_same_epochs_asks_for_nothing_twice(watched: Watched) -> None:
    claim = watched.take()
    watched.save(claim, 2.0, 4.0)
    watched.close(claim, "lost")
    again = watched.take()
    assert again.run_id == watched.run_id
    watched.save(again, 2.0, 4.0, 6.0)
    assert watched.evaluated() == [(1, 20), (2, 40), (3, 60)]


def test_a_turn_whose_evaluation_failed_is_taken_again(watched: Watched) -> None:
    claim = watched.take()
    watched.save(claim, 2.0)
    evaluation = watched.take("cpu")
    with unit_of_work(watched.engine) as session:
        session.execute(update(Run).where(Run.id == evaluation.run_id).values(max_attempts=1))
        outcome = Outcome(kind="failed", error_kind="user", message="the checkpoint is damaged")
        assert leases.close(session, evaluation.run_id, evaluation.fence, outcome)
    (warning,) = watched.told("warning")
    assert warning.payload["code"] == "monitor_failed"
    assert "step 20 no score: the checkpoint is damaged" in warning.payload["message"]
    watched.close(claim, "lost")
    watched.save(watched.take(), 2.0)
    assert watched.evaluated() == [(1, 20), (1, 20)]


def test_a_data_set_that_is_gone_stops_no_run(watched: Watched, labelled: DatasetVersion) -> None:
    with unit_of_work(watched.engine) as session:
        session.execute(update(DatasetVersion).values(state="failed", reason="the disk is gone"))
    watched.save(watched.take(), 2.0)
    assert watched.evaluated() == []
    assert "the disk is gone" in watched.told("warning")[0].payload["message"]


def test_a_run_without_a_monitor_is_left_alone(
    make_worker: Callable[..., WorkerIdentity],
    make_run: Callable[..., str],
    claim_run: Callable[..., Claim | None],
    engine: Engine,
) -> None:
    plain = Watched(engine, make_worker(), claim_run, run_id=make_run())
    claim = plain.take()
    plain.save(claim, 50.0)
    plain.close(claim)
    assert plain.evaluated() == []


def test_what_is_planned_is_resolved(engine: Engine, labelled: DatasetVersion) -> None:
    config = override(smoke(), {"monitor.task": "knn", "monitor.dataset": "labelled", "monitor.every_epochs": 3})
    with read_only(engine) as session:
        assert plan_monitor(session, smoke()) is None
        found = plan_monitor(session, config)
    assert found is not None
    assert (found["dataset_version_id"], found["metric"], found["every_epochs"]) == (labelled.id, "top1", 3)
    assert found["options"]["k"] == 20


def test_checkpoints_that_come_rarely_are_told(labelled: DatasetVersion) -> None:
    config = override(smoke(), {"monitor.task": "knn", "monitor.dataset": "labelled", "train.checkpoint_every": 40})
    labelled.images = 32
    assert "every 20 epochs" in str(coarse(config, labelled))
    labelled.images = 3200
    assert coarse(config, labelled) is None
    assert coarse(smoke(), labelled) is None
