from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine, update

from control.db.models import DatasetVersion, Weights
from control.db.session import unit_of_work
from control.errors import InvalidRequest, NotFound
from control.records.datasets.datasets import Scan
from control.records.planning.plans import Plan, Warned, plan
from control.records.scheduling.workers import WorkerIdentity
from detco_core.contract.config import read_config
from detco_core.contract.errors import InvalidDocument

Planning = Callable[..., Plan]


@pytest.fixture
def planned(engine: Engine, make_dataset: Callable[..., Scan]) -> Planning:
    """Plans the preset `smoke` over 300 photos: `planned({"train.steps": 5}, gpus=2, state="ready")`."""

    def make(overrides: dict[str, Any] | None = None, gpus: int = 1, nodes: int = 1, **values: object) -> Plan:
        make_dataset()
        with unit_of_work(engine) as session:
            session.execute(update(DatasetVersion).values({"images": 300, **values}))
            return plan(session, "smoke", overrides or {}, "photos", gpus, nodes=nodes)

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
        ({"monitor.task": "juggling", "monitor.dataset": "x"}, 1, "overrides.monitor.task: 'juggling' is not one of"),
        ({"monitor.task": "knn", "monitor.dataset": "photos"}, 1, "overrides.monitor.dataset: knn reads data sets of"),
        (
            {"monitor.task": "knn", "monitor.dataset": "photos", "monitor.metric": "loss"},
            1,
            "overrides.monitor.metric: knn reports top1, top5, mean_per_class, not 'loss'",
        ),
        ({"track.mlflow_uri": "/srv/anywhere"}, 1, "overrides.track.mlflow_uri: must be the http"),
        ({"track.mlflow_uri": "file:///srv/anywhere"}, 1, "overrides.track.mlflow_uri: must be the http"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(
    planned: Planning, overrides: dict[str, Any], gpus: int, fault: str
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        planned(overrides, gpus)
    assert fault in str(refused.value)


def test_images_of_other_channels_are_refused(planned: Planning) -> None:
    with pytest.raises(InvalidRequest, match=r"overrides.views.channels: photos@1 holds images of 3 and 4 channels"):
        planned({"views.channels": 5}, channels={"3": 299, "4": 1})


def test_grey_and_transparent_images_become_rgb(planned: Planning) -> None:
    assert planned(channels={"1": 299, "4": 1}).config.views.channels == 3


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
        ({"images": 200}, {}, 1, "queue_exceeds_dataset"),
        ({}, {"method.backbone": "resnet9"}, 1, "unknown_backbone"),
        ({}, {"method.name": "densecl"}, 1, "unknown_method"),
        ({"channels": {"1": 300}}, {"views.channels": 1}, 1, "views_without_color"),
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


class TestStart:
    def weights(self, engine: Engine, **fields: Any) -> str:
        with unit_of_work(engine) as session:
            weights = Weights(uri="/w.pth", architecture="resnet18", created_by="t", **fields)
            session.add(weights)
            session.flush()
            return weights.id

    def test_from_weights(self, engine: Engine, planned: Planning, make_worker: Callable[..., WorkerIdentity]) -> None:
        make_worker()
        planned()
        weights = self.weights(engine, state="ready")
        with unit_of_work(engine) as session:
            found = plan(session, "smoke", {"train.warm_start": True}, "photos", 1, {"weights": weights})
        assert found.spec["init"] == {"weights_id": weights, "strict": True}
        assert (found.start.after, found.warnings) == ((), ())
        assert "init" in {deviation.key for deviation in found.deviations}

    def test_from_weights_that_are_still_checked(self, engine: Engine, planned: Planning) -> None:
        planned()
        weights = self.weights(engine, run_id="run_9")
        with unit_of_work(engine) as session:
            found = plan(session, "smoke", {}, "photos", 1, {"weights": weights})
        assert found.start.after == ("run_9",)
        assert "weights_checking" in {warned.code for warned in found.warnings}

    def test_from_another_architecture_with_a_warning(self, engine: Engine, planned: Planning) -> None:
        planned()
        init = {"weights": self.weights(engine, state="ready"), "strict": False}
        with unit_of_work(engine) as session:
            found = plan(session, "smoke", {"method.backbone": "resnet34"}, "photos", 1, init)
        assert "other_architecture" in {warned.code for warned in found.warnings}

    def test_is_needed_where_the_preset_says_so(self, engine: Engine, planned: Planning) -> None:
        planned()
        with unit_of_work(engine) as session:
            with pytest.raises(InvalidRequest, match="init: detco_r50_domain starts from given weights: give init"):
                plan(session, "detco_r50_domain", {}, "photos", 1)
            loose = {"train.warm_start": False, "train.batch_size": 256}
            assert plan(session, "detco_r50_domain", loose, "photos", 1).start.init is None


def test_several_nodes_share_the_batch_and_need_as_many_hosts(
    engine: Engine, planned: Planning, make_worker: Callable[..., WorkerIdentity]
) -> None:
    make_worker(host="a", train=2)
    make_worker(host="b", train=1)
    found = planned(gpus=1, nodes=2)
    assert (found.layout.processes, found.spec["gpus"], found.spec["nodes"], found.warnings) == (2, 1, 2, ())
    with unit_of_work(engine) as session:
        with pytest.raises(InvalidRequest, match="must be a multiple of gpus times nodes"):
            plan(session, "smoke", {}, "photos", 2, nodes=3)
        (short,) = plan(session, "smoke", {}, "photos", 2, nodes=2).warnings
    assert short == Warned("too_few_slots", "only 1 of 2 hosts with 2 training slots are there: the run waits")
