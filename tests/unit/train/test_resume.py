"""What may differ between a checkpoint and the job that continues from it."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from detco_core.contract.config import RunConfig
from detco_core.contract.errors import CheckpointError
from detco_core.contract.jobs import PretrainJob
from detco_core.runtime.checkpoint import CheckpointInfo
from detco_core.train.resume import check_resumable, extension

Jobs = Callable[..., PretrainJob]


def info(config: RunConfig, **changes: Any) -> CheckpointInfo:
    whole = CheckpointInfo(
        step=2,
        epoch=0.7,
        steps=3,
        steps_per_epoch=3,
        config=config,
        dataset="photos@1",
        dataset_digest=None,
        world_size=1,
        software={},
    )
    return dataclasses.replace(whole, **changes)


@pytest.fixture
def job(tiny_job: Jobs) -> PretrainJob:
    return tiny_job(resume=Path("/old/step-00000002.pt"))


def test_the_same_run_may_go_on(job: PretrainJob) -> None:
    check_resumable(info(job.config), job, steps_per_epoch=3, world_size=1)


def test_what_decides_no_number_may_change(tiny_job: Jobs) -> None:
    changed = tiny_job(
        preset="other",
        data__workers=2,
        train__log_every=7,
        train__checkpoint_every=9,
        train__warm_start=True,
        alarms__skip_bad_steps=2,
        monitor={"task": "knn", "dataset": "d@1", "every_epochs": 5, "metric": "top1"},
    )
    check_resumable(info(tiny_job().config), changed, steps_per_epoch=3, world_size=1)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("seed", 9),
        ("train.steps", 100),
        ("train.batch_size", 2),
        ("data.decode_short_side", 128),
        ("views.flip", 0.0),
        ("method.temperature", 0.1),
        ("method.stage_weights", (0.1, 0.4, 0.7, 2.0)),
        ("optim.warmup_steps", 1),
        ("device.precision", "bf16"),
        ("device.threads", 2),
        ("device.channels_last", False),
    ],
)
def test_every_other_key_is_refused_and_named(tiny_job: Jobs, job: PretrainJob, key: str, value: object) -> None:
    saved = info(tiny_job(**{key.replace(".", "__"): value}).config)
    with pytest.raises(CheckpointError, match=rf"/old/step-00000002\.pt.*{key.replace('.', '[.]')}: "):
        check_resumable(saved, job, steps_per_epoch=3, world_size=1)


@pytest.mark.parametrize(("changes", "per_epoch"), [({"dataset_digest": "sha256:other"}, 3), ({}, 4)])
def test_other_data_are_refused(job: PretrainJob, changes: dict[str, Any], per_epoch: int) -> None:
    with pytest.raises(CheckpointError, match="same data set version"):
        check_resumable(info(job.config, **changes), job, steps_per_epoch=per_epoch, world_size=1)


def test_another_number_of_processes_needs_consent(job: PretrainJob) -> None:
    saved = info(job.config, world_size=2)
    with pytest.raises(CheckpointError, match=r"2 processes, this job has 1.*allow_world_size_change"):
        check_resumable(saved, job, steps_per_epoch=3, world_size=1)
    check_resumable(saved, dataclasses.replace(job, allow_world_size_change=True), steps_per_epoch=3, world_size=1)


def test_another_length_needs_consent(tiny_job: Jobs, job: PretrainJob) -> None:
    longer = tiny_job(train__steps=9, resume=Path("/old/step-00000002.pt"))
    with pytest.raises(CheckpointError, match=r"train\.steps: 3 -> 9; set extend in the job"):
        check_resumable(info(job.config), longer, steps_per_epoch=3, world_size=1)
    check_resumable(info(job.config), dataclasses.replace(longer, extend=True), steps_per_epoch=3, world_size=1)
    by_epochs = dataclasses.replace(tiny_job(train__epochs=3), resume="/old.pt", extend=True)
    check_resumable(info(job.config), by_epochs, steps_per_epoch=3, world_size=1)


def test_extending_is_consent_to_nothing_else(tiny_job: Jobs, job: PretrainJob) -> None:
    other = dataclasses.replace(tiny_job(train__steps=9, optim__lr=0.1), resume="/old.pt", extend=True)
    with pytest.raises(CheckpointError, match=r"optim\.lr: 0\.03 -> 0\.1; resume with"):
        check_resumable(info(job.config), other, steps_per_epoch=3, world_size=1)


def test_an_extension_says_what_the_rate_does(job: PretrainJob) -> None:
    """A run that ended at rate 0 goes on in the middle of a cosine of twice the length."""
    said = extension(info(job.config, step=3), job, steps=6)
    assert said is not None
    assert said.code == "schedule_extended"
    assert said.details == {
        "step": 3,
        "steps_before": 3,
        "steps": 6,
        "lr_before": pytest.approx(0.0, abs=1e-12),
        "lr": pytest.approx(0.015),
    }
    assert extension(info(job.config), job, steps=3) is None


def test_a_run_is_not_cut_below_what_it_has_done(job: PretrainJob) -> None:
    with pytest.raises(CheckpointError, match="has made 2 steps, more than the 1 asked for"):
        extension(info(job.config), job, steps=1)
