"""Sweeps are planned whole: one bad combination refuses all of them, by name."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine, update

from control.db.models import DatasetVersion
from control.db.session import unit_of_work
from control.errors import InvalidRequest, NotFound
from control.records.datasets.datasets import Scan
from control.records.planning.layouts import Layout
from control.records.scheduling.workers import WorkerIdentity
from control.records.sweeps.sweep_plans import NewSweep, SweepEvaluation, SweepPlan, plan_sweep

Planning = Callable[..., SweepPlan]


@pytest.fixture
def planned(engine: Engine, labelled: DatasetVersion, make_dataset: Callable[..., Scan]) -> Planning:
    """Plans a sweep of the preset `smoke` over 320 photos: `planned(grid={"seed": [1, 2]}, **fields of NewSweep)`."""
    photos = make_dataset("photos").version

    def make(**fields: Any) -> SweepPlan:
        with unit_of_work(engine) as session:
            session.execute(update(DatasetVersion).where(DatasetVersion.id == photos.id).values(images=320))
            return plan_sweep(
                session, NewSweep(**{"dataset": "photos", "preset": "smoke", "terms": {"actor": "ada"}, **fields})
            )

    return make


def test_every_combination_becomes_a_config(planned: Planning) -> None:
    found = planned(overrides={"train.steps": 7}, grid={"optim.lr": [0.1, 0.3], "seed": [1, 2]})
    configs = [one.plan.config for one in found.runs]
    assert [(config.optim.lr, config.seed) for config in configs] == [(0.1, 1), (0.1, 2), (0.3, 1), (0.3, 2)]
    assert {config.train.steps for config in configs} == {7}
    assert (found.varied, found.dataset.ref, found.evaluate) == (["optim.lr", "seed"], "photos@1", None)


def test_the_evaluation_is_resolved(planned: Planning) -> None:
    found = planned(combinations=[{"seed": 1}], evaluate=SweepEvaluation(task="knn", dataset="labelled"))
    assert found.evaluate is not None
    assert (found.evaluate["dataset"], found.evaluate["checkpoint"]) == ("labelled@1", "last")
    assert found.evaluate["options"]["k"] == 20


@pytest.mark.parametrize(
    ("fields", "faults"),
    [
        ({}, [("grid", "give either grid or combinations")]),
        ({"grid": {"seed": [1]}, "combinations": [{}]}, [("grid", "give either grid or combinations")]),
        (
            {"grid": {"optim.lr": [0.1, -1.0], "seed": [1, 2]}},
            [("grid.optim.lr", "(combination 3: optim.lr=-1.0, seed=1 and 1 more)")],
        ),
        (
            {"combinations": [{"seed": 1}, {"train.batch_size": 512, "method.queue_size": 512}]},
            [
                ("dataset", "photos@1 has 320 images"),
                ("", "combination 2: train.batch_size=512, method.queue_size=512"),
            ],
        ),
        ({"combinations": [{"seed": 1}, {"seedd": 1}]}, [("combinations.1.seedd", "(combination 2: seedd=1)")]),
        ({"grid": {"seed": [1, 2]}, "overrides": {"train.stepz": 1}}, [("overrides.train.stepz", "unknown key")]),
        ({"grid": {"seed": [1, 2]}, "layout": Layout(3)}, [("gpus", "must be a multiple of it")]),
        ({"grid": {"seed": [1]}, "terms": {"labels": {"seed": "x"}}}, [("labels.seed", "the sweep varies it")]),
        (
            {"grid": {"seed": [1]}, "evaluate": SweepEvaluation(task="knn", dataset="photos")},
            [("evaluate.dataset", "knn reads data sets of kind labelled")],
        ),
        (
            {"grid": {"seed": [1]}, "evaluate": SweepEvaluation(task="knn", dataset="labelled", options={"kk": 1})},
            [("evaluate.options.kk", "unknown key")],
        ),
        (
            {"grid": {"seed": [1]}, "evaluate": SweepEvaluation(task="juggling", dataset="labelled")},
            [("evaluate.task", "'juggling' is not one of")],
        ),
        (
            {"grid": {"seed": [1]}, "evaluate": SweepEvaluation(task="knn", dataset="labelled", checkpoint="best")},
            [("evaluate.checkpoint", "there is no best without a monitor")],
        ),
    ],
)
def test_what_is_refused_names_the_combination(
    planned: Planning, fields: dict[str, Any], faults: list[tuple[str, str]]
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        planned(**fields)
    assert refused.value.faults[0].path == faults[0][0]
    for _, message in faults:
        assert message in str(refused.value)


def test_a_fault_of_all_is_said_once(planned: Planning) -> None:
    with pytest.raises(InvalidRequest) as refused:
        planned(grid={"seed": [1, 2, 3]}, overrides={"train.stepz": 1})
    assert [fault.path for fault in refused.value.faults] == ["overrides.train.stepz"]
    assert "combination" not in str(refused.value)


def test_a_data_set_that_is_not_there(planned: Planning) -> None:
    with pytest.raises(NotFound):
        planned(grid={"seed": [1]}, dataset="none")


def test_the_estimate_is_of_all_of_it(
    engine: Engine, planned: Planning, make_worker: Callable[..., WorkerIdentity]
) -> None:
    make_worker(train=2)
    found = planned(grid={"seed": [1, 2, 3], "train.steps": [10, 20]})
    with unit_of_work(engine) as session:
        total = found.estimate(session)
        assert total.seconds is not None
        assert total.wall_seconds == pytest.approx(total.seconds / 2)
    assert (total.runs, total.parallel) == (6, 2)
    assert total.basis.startswith("arithmetic")
    few = planned(grid={"seed": [1, 2, 3]}, max_parallel=1)
    with unit_of_work(engine) as session:
        assert few.estimate(session).parallel == 1
