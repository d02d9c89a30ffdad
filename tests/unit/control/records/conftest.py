"""A run that is watched by a monitor, and a data set to evaluate on."""

from collections.abc import Callable

import pytest
from sqlalchemy import Engine, update

from control.db.models import DatasetVersion
from control.db.session import unit_of_work
from control.records.claims import Claim
from control.records.datasets import Scan
from control.records.workers import WorkerIdentity
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
    return Watched(engine, worker, claim_run, make_run(spec=spec, labels={"a": "b"}, group="g", priority=3))
