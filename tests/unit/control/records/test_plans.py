from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine, update

from control.db.models import DatasetVersion
from control.db.session import unit_of_work
from control.errors import InvalidRequest, NotFound
from control.records.datasets import Scan
from control.records.plans import Plan, plan
from control.records.workers import WorkerIdentity
from detco_core.contract.config import read_config
from detco_core.contract.errors import InvalidDocument

Planning = Callable[..., Plan]


@pytest.fixture
def planned(engine: Engine, make_dataset: Callable[..., Scan]) -> Planning:
    """Plans the preset `smoke` over 300 photos: `planned({"train.steps": 5}, gpus=2, state="ready")`."""

    def make(overrides: dict[str, Any] | None = None, gpus: int = 1, **values: object) -> Plan:
        make_dataset()
        with unit_of_work(engine) as session:
            session.execute(update(DatasetVersion).values({"images": 300, **values}))
            return plan(session, "smoke", overrides or {}, "photos", gpus)

    return make


def test_a_plan_holds_the_resolved_config(planned: Planning, make_worker: Callable[..., WorkerIdentity]) -> None:
    make_worker()
    found = planned({"train.epochs": 3})
    assert (found.config.train.epochs, found.config.train.steps) == (3, None)
    assert found.dataset.ref == "photos@1"
    assert found.warnings == ()
    spec = found.spec
    assert (spec["dataset_version_id"], spec["gpus"], spec["init"]) == (found.dataset.id, 1, None)
    assert read_config(spec["config"]) == found.config
    assert "train.batch_size" in {deviation.key for deviation in found.deviations}


@pytest.mark.parametrize(
    ("overrides", "gpus", "fault"),
    [
        ({}, 3, "gpus: train.batch_size (16) must be a multiple of it"),
        ({"train.batch_size": 512, "method.queue_size": 512}, 1, "photos@1 has 300 images, fewer than one batch"),
        ({"monitor.task": "knn", "monitor.dataset": "x"}, 1, "monitors are not run yet"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(
    planned: Planning, overrides: dict[str, Any], gpus: int, fault: str
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        planned(overrides, gpus)
    assert fault in str(refused.value)


def test_unknown_names_are_refused(engine: Engine, planned: Planning) -> None:
    with pytest.raises(InvalidDocument, match="no_such_key"):
        planned({"train.no_such_key": 1})
    with unit_of_work(engine) as session:
        with pytest.raises(NotFound):
            plan(session, "smoke", {}, "no-such-data", 1)
        with pytest.raises(InvalidDocument, match="'none' is not one of"):
            plan(session, "none", {}, "photos", 1)


@pytest.mark.parametrize(
    ("values", "overrides", "gpus", "code"),
    [
        ({"state": "scanning", "images": None}, {}, 1, "dataset_scanning"),
        ({"broken": [{"path": "a", "reason": "b"}]}, {}, 1, "broken_files"),
        ({"images": 200}, {}, 1, "queue_larger_than_data"),
        ({}, {"method.backbone": "resnet9"}, 1, "unknown_backbone"),
        ({}, {}, 2, "too_few_slots"),
    ],
)
def test_what_one_should_know_before(
    planned: Planning,
    make_worker: Callable[..., WorkerIdentity],
    values: dict[str, Any],
    overrides: dict[str, Any],
    gpus: int,
    code: str,
) -> None:
    make_worker()
    assert [warning.code for warning in planned(overrides, gpus, **values).warnings] == [code]
