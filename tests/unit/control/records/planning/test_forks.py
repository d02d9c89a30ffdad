from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine, update

from control.db.models import Checkpoint, DatasetVersion, Run
from control.db.session import unit_of_work
from control.errors import InvalidRequest, NotFound, NotReady
from control.records.datasets.datasets import Scan
from control.records.planning.forks import NewFork, plan_fork
from control.records.planning.plans import Plan
from control.records.runs.runs import get_run
from control.records.scheduling.workers import WorkerIdentity
from control.storage.base import key_of
from detco_core.contract.config import override
from detco_core.contract.errors import InvalidDocument
from detco_core.contract.presets import smoke
from detco_core.contract.reader import plain


@pytest.fixture
def parent(engine: Engine, make_run: Callable[..., str], make_dataset: Callable[..., Scan]) -> str:
    """A smoke run of 20 steps on 300 photos, with a checkpoint of steps 10 and 20."""
    scan = make_dataset()
    spec = {"config": plain(smoke()), "dataset_version_id": scan.version.id, "gpus": 1, "init": None, "resume": None}
    run_id = make_run(spec=spec, dataset_version_id=scan.version.id)
    with unit_of_work(engine) as session:
        session.execute(update(DatasetVersion).values(images=300))
        for step in (10, 20):
            session.add(
                Checkpoint(
                    id=f"ckpt_{step}",
                    run_id=run_id,
                    fence=1,
                    step=step,
                    epoch=1.0,
                    bytes=1,
                    digest=f"sha256:{step:064d}",
                    key=key_of(f"{step:064d}"),
                    created_by="t",
                )
            )
    return run_id


@pytest.fixture
def fork(engine: Engine, parent: str, make_worker: Callable[..., WorkerIdentity]) -> Callable[..., Plan]:
    make_worker(train=4)

    def make(overrides: dict[str, Any] | None = None, **asked: Any) -> Plan:
        with unit_of_work(engine) as session:
            return plan_fork(session, get_run(session, parent), NewFork(overrides=overrides or {}, **asked))

    return make


class TestCarryingWeights:
    def test_starts_from_the_checkpoint_with_any_other_config(self, fork: Callable[..., Plan], parent: str) -> None:
        plan = fork({"optim.lr": 0.01, "train.steps": 7}, checkpoint="ckpt_10")
        assert plan.config == override(smoke(), {"optim.lr": 0.01, "train.steps": 7})
        assert plan.spec["init"] == {"run": parent, "checkpoint_id": "ckpt_10", "strict": True}
        assert (plan.spec["resume"], plan.start.forked_from, plan.layout.gpus) == (None, parent, 1)

    def test_may_go_to_other_data(self, fork: Callable[..., Plan], make_dataset: Callable[..., Scan]) -> None:
        make_dataset("others")
        assert fork(dataset="others").dataset.ref == "others@1"

    def test_refuses_another_backbone(self, fork: Callable[..., Plan]) -> None:
        with pytest.raises(InvalidRequest, match="holds a resnet18"):
            fork({"method.backbone": "resnet50"})


class TestCarryingAll:
    def test_goes_on_with_more_steps_and_says_what_becomes_of_the_schedule(
        self, fork: Callable[..., Plan], parent: str
    ) -> None:
        plan = fork({"train.steps": 40, "data.workers": 0}, carry="all")
        resume = {"run": parent, "checkpoint_id": "ckpt_20", "allow_world_size_change": False}
        assert (plan.spec["resume"], plan.spec["init"], plan.start.forked_from) == (resume, None, parent)
        (said,) = (warned for warned in plan.warnings if warned.code == "schedule_extended")
        assert "40 steps (before: 20): at step 20" in said.message

    def test_may_go_by_epochs(self, fork: Callable[..., Plan]) -> None:
        assert fork({"train.epochs": 2}, carry="all").config.train.steps is None
        with pytest.raises(InvalidRequest, match="has 18 steps and the checkpoint is of step 20"):
            fork({"train.epochs": 1}, carry="all")

    def test_goes_on_as_planned_from_an_earlier_checkpoint(self, fork: Callable[..., Plan]) -> None:
        plan = fork(carry="all", checkpoint="ckpt_10")
        assert "schedule_extended" not in {warned.code for warned in plan.warnings}

    def test_needs_something_left_to_do(self, fork: Callable[..., Plan]) -> None:
        with pytest.raises(InvalidRequest, match=r"nothing is left to do; override train.steps or train.epochs"):
            fork(carry="all")

    def test_names_every_key_that_would_make_it_another_run(self, fork: Callable[..., Plan]) -> None:
        with pytest.raises(InvalidRequest) as refused:
            fork({"optim.lr": 0.5, "seed": 3, "train.steps": 40}, carry="all")
        assert [fault.path for fault in refused.value.faults] == ["overrides.seed", "overrides.optim.lr"]

    def test_needs_the_same_data(self, fork: Callable[..., Plan], make_dataset: Callable[..., Scan]) -> None:
        make_dataset("others")
        with pytest.raises(InvalidRequest, match="dataset: must be photos@1"):
            fork({"train.steps": 40}, carry="all", dataset="others")

    def test_needs_consent_for_another_number_of_processes(self, fork: Callable[..., Plan]) -> None:
        with pytest.raises(InvalidRequest, match="gpus: the run had 1 processes"):
            fork({"train.steps": 40}, carry="all", gpus=2)
        plan = fork({"train.steps": 40}, carry="all", gpus=2, allow_world_size_change=True)
        assert (plan.layout.gpus, plan.spec["resume"]["allow_world_size_change"]) == (2, True)

    def test_needs_no_init_where_the_preset_asks_for_one(
        self, engine: Engine, fork: Callable[..., Plan], parent: str
    ) -> None:
        with unit_of_work(engine) as session:
            run = session.get_one(Run, parent)
            run.spec = run.spec | {"config": plain(override(smoke(), {"train.warm_start": True}))}
        assert fork({"train.steps": 40}, carry="all").start.init is None
        assert fork(carry="weights").start.init is not None


def test_what_is_not_there(fork: Callable[..., Plan]) -> None:
    with pytest.raises(NotFound, match="ckpt_30"):
        fork(checkpoint="ckpt_30")
    with pytest.raises(NotReady, match="without a monitor"):
        fork(checkpoint="best")
    with pytest.raises(InvalidDocument, match="unknown key"):
        fork({"train.stepz": 1})
