"""A whole job in this process: what it says, and that the same job says the same."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from detco_core.contract.errors import CheckpointError, DataError, InvalidDocument
from detco_core.contract.events import (
    ArtifactSaved,
    Body,
    CheckpointSaved,
    Finished,
    Metrics,
    Progress,
    Started,
    Stopped,
    Warned,
)
from detco_core.contract.jobs import PretrainJob
from detco_core.contract.metrics import METRICS, family
from detco_core.runtime.checkpoint import file_digest, load
from detco_core.runtime.reporter import Reporter
from detco_core.runtime.stop import StopRequest
from detco_core.train.job import run

Jobs = Callable[..., PretrainJob]
Told = Callable[..., list[Body]]


def losses(events: list[Body]) -> dict[int, float]:
    return {event.step: event.values["loss"] for event in events if isinstance(event, Metrics)}


@pytest.mark.slow
def test_says_all_it_must_in_order(tiny_job: Jobs, reporter: Reporter, told: Told, tmp_path: Path) -> None:
    assert run(tiny_job(), reporter, StopRequest()) == Finished(step=3)
    events = told()
    assert isinstance(events[0], Started)
    assert {type(event) for event in events} == {Started, Progress, Metrics, CheckpointSaved, ArtifactSaved}
    progress = [event for event in events if isinstance(event, Progress)]
    assert (progress[0].step, progress[-1].step) == (1, 3)
    assert (progress[-1].steps, progress[-1].epoch, progress[-1].epochs) == (3, 1.0, 1.0)
    saved = [event for event in events if isinstance(event, CheckpointSaved)]
    assert [(event.step, event.path) for event in saved] == [
        (2, "checkpoints/step-00000002.pt"),
        (3, "checkpoints/step-00000003.pt"),
    ]
    for event in saved:
        checkpoint = load(tmp_path / "job" / event.path, event.sha256)
        assert (checkpoint.info.step, checkpoint.info.epoch, checkpoint.info.world_size) == (event.step, event.epoch, 1)
    (board,) = [event for event in events if isinstance(event, ArtifactSaved)]
    assert board.path.startswith("tensorboard/events.out.tfevents.")
    assert file_digest(tmp_path / "job" / board.path) == board.sha256
    assert_every_metric_is_known([event for event in events if isinstance(event, Metrics)])


def assert_every_metric_is_known(events: list[Metrics]) -> None:
    """Each family of `contract.metrics` is there, by term and stage, and nothing else."""
    elsewhere = {"memory_cuda", "memory_cuda_peak", "loss_scale"}
    for event in events:
        families = [family(name) for name in event.values]
        assert None not in families
        # How fast a run is, is not known at its first step.
        missing = {known.name for known in METRICS} - {found.name for found in families if found is not None}
        assert missing - elsewhere == ({"eta_seconds"} if event.step == 1 else set())
        assert sum(name.startswith("loss/") for name in event.values) == 12
        assert sum(name.startswith("effective_rank/") for name in event.values) == 8


@pytest.mark.slow
def test_the_same_seed_gives_the_same_numbers(tiny_job: Jobs, tmp_path: Path, told: Told) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        with Reporter(tmp_path / name) as reporter:
            run(tiny_job(name, seed=seed, train__steps=2), reporter, StopRequest())
    assert losses(told("a")) == losses(told("b"))
    assert losses(told("a")) != losses(told("c"))


@pytest.mark.slow
def test_every_step_is_logged_only_when_asked(tiny_job: Jobs, reporter: Reporter, told: Told) -> None:
    run(tiny_job(train__steps=5, train__log_every=2), reporter, StopRequest())
    assert list(losses(told())) == [2, 4, 5]


@pytest.mark.slow
def test_epochs_are_counted_in_steps(tiny_job: Jobs, reporter: Reporter) -> None:
    assert run(tiny_job(train__epochs=1), reporter, StopRequest()) == Finished(step=3)


@pytest.mark.slow
def test_a_queue_longer_than_the_data_is_warned_of(tiny_job: Jobs, reporter: Reporter, told: Told) -> None:
    run(tiny_job(train__steps=1, method__queue_size=16), reporter, StopRequest())
    (warning,) = [event for event in told() if isinstance(event, Warned)]
    details = {"queue_size": 16, "images": 12, "recommended": 4}
    assert (warning.code, warning.details) == ("queue_exceeds_dataset", details)


@pytest.mark.slow
def test_moco_runs_without_local_views(tiny_job: Jobs, reporter: Reporter, told: Told) -> None:
    overrides = {
        "method__name": "moco_v2",
        "method__stage_weights": (0, 0, 0, 1),
        "method__term_weights": {"g2g": 1.0, "l2l": 0.0, "l2g": 0.0},
    }
    run(tiny_job(train__steps=1, **overrides), reporter, StopRequest())
    (metrics,) = [event for event in told() if isinstance(event, Metrics)]
    assert {name for name in metrics.values if name.startswith("loss/")} == {"loss/g2g/res5"}


@pytest.mark.slow
def test_bfloat16_trains(tiny_job: Jobs, reporter: Reporter, told: Told) -> None:
    job = tiny_job(train__steps=2, device__precision="bf16", views__local_size=72, views__patch_size=24)
    run(job, reporter, StopRequest())
    assert all(0 < loss < 30 for loss in losses(told()).values())


@pytest.mark.slow
def test_float16_trains_and_its_scaler_goes_on_after_a_stop(
    tiny_job: Jobs, tmp_path: Path, told: Told, stop: StopRequest
) -> None:
    """Whole images and one stage: a CPU takes a hundred times as long in half precision."""
    small = {
        "device__precision": "fp16",
        "method__stage_weights": (1.0, 0.0, 0.0, 0.0),
        "train__steps": 2,
        "method__term_weights": {"g2g": 1.0, "l2l": 0.0, "l2g": 0.0},
    }
    with Reporter(tmp_path / "whole") as reporter:
        run(tiny_job("whole", **small), reporter, StopRequest())
    with Reporter(tmp_path / "half") as reporter:
        assert run(tiny_job("half", **small), reporter, stop) == Stopped(step=1)
    first = tmp_path / "half" / "checkpoints" / "step-00000001.pt"
    with Reporter(tmp_path / "rest") as reporter:
        run(tiny_job("rest", resume=first, **small), reporter, StopRequest())
    whole, rest = (
        {event.step: event.values for event in told(name) if isinstance(event, Metrics)} for name in ("whole", "rest")
    )
    for name in ("loss", "loss_scale", "grad_norm"):
        assert rest[2].get(name) == whole[2].get(name)
    assert all(0 < values["loss"] < 30 for values in whole.values())


def test_bfloat16_on_the_cpu_is_refused_where_its_gradients_are_wrong(tiny_job: Jobs, reporter: Reporter) -> None:
    with pytest.raises(InvalidDocument, match=r"patches of 16 pixels: use views.patch_size above 16, or fp32"):
        run(tiny_job(device__precision="bf16", views__patch_size=16), reporter, StopRequest())


@pytest.mark.slow
def test_resuming_continues_the_numbers(tiny_job: Jobs, tmp_path: Path, told: Told) -> None:
    with Reporter(tmp_path / "whole") as reporter:
        run(tiny_job("whole"), reporter, StopRequest())
    half = tmp_path / "whole" / "checkpoints" / "step-00000002.pt"
    with Reporter(tmp_path / "rest") as reporter:
        assert run(tiny_job("rest", resume=half), reporter, StopRequest()) == Finished(step=3)
    started = told("rest")[0]
    assert isinstance(started, Started)
    assert started.resumed_from == 2
    assert losses(told("rest")) == {3: losses(told("whole"))[3]}


@pytest.mark.slow
def test_a_finished_run_is_finished_or_extended(tiny_job: Jobs, tmp_path: Path, told: Told) -> None:
    with Reporter(tmp_path / "whole") as reporter:
        run(tiny_job("whole", train__steps=2), reporter, StopRequest())
    last = tmp_path / "whole" / "checkpoints" / "step-00000002.pt"
    with Reporter(tmp_path / "again") as reporter:
        assert run(tiny_job("again", train__steps=2, resume=last), reporter, StopRequest()) == Finished(step=2)
    longer = dataclasses.replace(tiny_job("longer", train__steps=4, resume=last), extend=True)
    with Reporter(tmp_path / "longer") as reporter:
        assert run(longer, reporter, StopRequest()) == Finished(step=4)
    started, said, *rest = told("longer")
    assert isinstance(started, Started)
    assert isinstance(said, Warned)
    assert (said.code, started.resumed_from) == ("schedule_extended", 2)
    assert started.environment["extended"] == said.details
    rates = [event.values["lr"] for event in rest if isinstance(event, Metrics)]
    assert rates[0] == pytest.approx(said.details["lr"]) == pytest.approx(0.015)
    before, after = (load(path).state for path in (last, tmp_path / "longer" / "checkpoints" / "step-00000004.pt"))
    assert before["method"]["queues.pointer"] == 0
    assert after["method"]["queues.pointer"] == 0
    assert before["optimizer"]["state"].keys() == after["optimizer"]["state"].keys()


@pytest.mark.slow
def test_a_changed_config_is_not_resumed(tiny_job: Jobs, reporter: Reporter, tmp_path: Path) -> None:
    run(tiny_job(train__steps=2), reporter, StopRequest())
    last = tmp_path / "job" / "checkpoints" / "step-00000002.pt"
    with pytest.raises(CheckpointError, match=r"optim\.lr: 0\.03 -> 0\.1"):
        run(tiny_job(train__steps=2, optim__lr=0.1, resume=last), reporter, StopRequest())


@pytest.mark.slow
def test_old_checkpoints_go_when_asked(tiny_job: Jobs, reporter: Reporter, tmp_path: Path) -> None:
    job = dataclasses.replace(tiny_job(train__checkpoint_every=1), keep_checkpoints=1)
    run(job, reporter, StopRequest())
    assert [path.name for path in (tmp_path / "job" / "checkpoints").iterdir()] == ["step-00000003.pt"]


def test_too_little_data_is_refused(tiny_job: Jobs, reporter: Reporter) -> None:
    with pytest.raises(DataError, match=r"12 readable images, fewer than one batch of 16"):
        run(tiny_job(train__batch_size=16, method__queue_size=16), reporter, StopRequest())


def test_an_unknown_backbone_is_refused(tiny_job: Jobs, reporter: Reporter) -> None:
    with pytest.raises(InvalidDocument, match=r"method\.backbone"):
        run(tiny_job(method__backbone="resnet19"), reporter, StopRequest())
