from collections.abc import Callable

import pytest
from sqlalchemy import Engine, update

from control.db.models import DatasetVersion
from control.db.session import unit_of_work
from control.errors import InvalidRequest, NotFound
from control.records.datasets.datasets import Scan
from control.records.planning.evaluations import NewEvaluation, evaluation_run
from control.records.runs.submission import NewRun
from detco_core.contract.errors import InvalidDocument

RANDOM = {"weights": "random"}


def ask(engine: Engine, **changed: object) -> NewRun:
    asked = {"task": "knn", "source": RANDOM, "dataset": "photos", "options": {"k": 5}, "seed": 3, **changed}
    with unit_of_work(engine) as session:
        return evaluation_run(session, NewEvaluation(**asked), actor="tester", priority=2)  # type: ignore[arg-type]  # the fields above


@pytest.fixture(autouse=True)
def labelled(engine: Engine, make_dataset: Callable[..., Scan]) -> str:
    """Makes `photos` a labelled data set; its version's id."""
    version = make_dataset().version
    with unit_of_work(engine) as session:
        session.execute(update(DatasetVersion).values(kind="labelled"))
    return version.id


def test_everything_is_resolved_at_once(engine: Engine, labelled: str) -> None:
    new = ask(engine)
    assert (new.kind, new.dataset_version_id, new.actor, new.priority) == ("evaluate", labelled, "tester", 2)
    assert new.spec["source"] == {"weights": "random", "backbone": "resnet18", "seed": 3}
    assert (new.spec["task"], new.spec["seed"], new.spec["dataset_version_id"]) == ("knn", 3, labelled)
    assert (new.spec["options"]["k"], new.spec["options"]["temperature"]) == (5, 0.07)


def test_what_cannot_be_evaluated_is_refused(engine: Engine) -> None:
    with pytest.raises(InvalidDocument, match="'none' is not one of knn"):
        ask(engine, task="none")
    with pytest.raises(InvalidDocument, match="unknown key"):
        ask(engine, options={"kk": 5})
    with pytest.raises(NotFound):
        ask(engine, dataset="none")
    with pytest.raises(NotFound):
        ask(engine, source={"model": "none"})
    with unit_of_work(engine) as session:
        session.execute(update(DatasetVersion).values(kind="images"))
    with pytest.raises(InvalidRequest, match="knn reads data sets of kind labelled; photos@1 is images"):
        ask(engine)
