"""A data set to evaluate on, a run that a monitor watches, sweeps, and a worker's hands."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine, update

from control.db.models import DatasetVersion
from control.db.session import unit_of_work
from control.records.datasets.datasets import Scan
from control.records.scheduling.claims import Claim
from control.records.scheduling.workers import WorkerIdentity
from control.records.sweeps.sweep_plans import NewSweep, plan_sweep
from control.records.sweeps.sweeps import create_sweep
from tests.unit.control.records.hands import Hands
from tests.unit.control.records.watched import Watched


@pytest.fixture
def labelled(engine: Engine, make_dataset: Callable[..., Scan]) -> DatasetVersion:
    version = make_dataset("labelled").version
    with unit_of_work(engine) as session:
        session.execute(update(DatasetVersion).values(kind="labelled"))
    return version


@pytest.fixture
def watched(
    engine: Engine,
    labelled: DatasetVersion,
    make_worker: Callable[..., WorkerIdentity],
    make_run: Callable[..., str],
    claim_run: Callable[..., Claim | None],
) -> Watched:
    monitor = {"task": "knn", "options": {}, "dataset_version_id": labelled.id, "metric": "top1", "every_epochs": 2}
    worker = make_worker()
    spec = {"config": {}, "monitor": monitor}
    return Watched(engine, worker, claim_run, run_id=make_run(spec=spec, labels={"a": "b"}, group="g", priority=3))


@pytest.fixture
def hands(engine: Engine, make_worker: Callable[..., WorkerIdentity], claim_run: Callable[..., Claim | None]) -> Hands:
    """Of a worker with four training places."""
    return Hands(engine, make_worker(train=4, light=4), claim_run)


@pytest.fixture
def make_sweep(engine: Engine, labelled: DatasetVersion, make_dataset: Callable[..., Scan]) -> Callable[..., str]:
    """Submits a sweep of two seeds of the preset `smoke`: `make_sweep(**fields of NewSweep)`; its id."""
    make_dataset("photos")

    def make(**fields: Any) -> str:
        of_runs = ("name", "labels", "group", "priority", "max_attempts")
        terms = {"actor": "ada"} | {name: fields.pop(name) for name in of_runs if name in fields}
        asked = {"dataset": "photos", "preset": "smoke", "grid": {"seed": [1, 2]}, "terms": terms, **fields}
        with unit_of_work(engine) as session:
            return create_sweep(session, plan_sweep(session, NewSweep(**asked))).id

    return make
