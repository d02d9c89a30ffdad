"""The loop where it leaves the straight path: asked to stop, numbers gone bad, a disk that is full."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import torch

from detco_core.contract.errors import CheckpointError, NumericsError
from detco_core.contract.events import Body, CheckpointSaved, Metrics, Stopped
from detco_core.contract.jobs import PretrainJob
from detco_core.runtime.reporter import Reporter
from detco_core.runtime.stop import StopRequest
from detco_core.train.job import make_trainer
from detco_core.train.trainer import Trainer

Jobs = Callable[..., PretrainJob]
Told = Callable[..., list[Body]]
CPU = torch.device("cpu")


def poison(trainer: Trainer) -> None:
    """What a diverged step leaves behind."""
    with torch.no_grad():
        next(trainer.run.method.query.parameters())[0] = float("nan")


def test_asked_to_stop_it_saves_after_the_step_and_leaves(tiny_job: Jobs, reporter: Reporter, told: Told) -> None:
    stop = StopRequest()
    stop.requested = True
    trainer = make_trainer(tiny_job(train__checkpoint_every=100), reporter, stop, CPU)
    with closing(trainer.batches):
        assert trainer.train() == Stopped(step=1)
    assert [event.step for event in told() if isinstance(event, CheckpointSaved)] == [1]


def test_asked_to_stop_in_the_last_step_it_finishes(tiny_job: Jobs, reporter: Reporter) -> None:
    stop = StopRequest()
    stop.requested = True
    trainer = make_trainer(tiny_job(train__steps=1), reporter, stop, CPU)
    with closing(trainer.batches):
        assert type(trainer.train()).__name__ == "Finished"


def test_nan_ends_the_run_at_once_when_every_step_is_looked_at(tiny_job: Jobs, reporter: Reporter, told: Told) -> None:
    trainer = make_trainer(tiny_job(), reporter, StopRequest(), CPU)
    poison(trainer)
    with closing(trainer.batches), pytest.raises(NumericsError, match=r"at or before step 1.*optim\.lr"):
        trainer.train()
    assert not any(isinstance(event, Metrics | CheckpointSaved) for event in told())


@pytest.mark.slow
def test_nan_is_never_saved(tiny_job: Jobs, reporter: Reporter, tmp_path: Path) -> None:
    """Also when nobody looked at the numbers before the checkpoint is due."""
    job = tiny_job(train__steps=10, train__log_every=10, train__checkpoint_every=3)
    trainer = make_trainer(job, reporter, StopRequest(), CPU)
    poison(trainer)
    with closing(trainer.batches), pytest.raises(NumericsError, match="at or before step 3"):
        trainer.train()
    assert not (tmp_path / "job" / "checkpoints").exists()


def test_infinity_counts_too(tiny_job: Jobs, reporter: Reporter) -> None:
    trainer = make_trainer(tiny_job(), reporter, StopRequest(), CPU)
    trainer.losses = torch.tensor(float("inf"))
    with pytest.raises(NumericsError):
        trainer.check_numbers()
    trainer.batches.close()


def test_a_checkpoint_that_cannot_be_written_ends_the_run(tiny_job: Jobs, reporter: Reporter, tmp_path: Path) -> None:
    trainer = make_trainer(tiny_job(), reporter, StopRequest(), CPU)
    (tmp_path / "job" / "checkpoints").write_text("in the way")
    with closing(trainer.batches), pytest.raises(CheckpointError, match="cannot write checkpoint"):
        trainer.train()


def test_views_reach_the_method_normalised(tiny_job: Jobs, reporter: Reporter) -> None:
    trainer = make_trainer(tiny_job(), reporter, StopRequest(), CPU)
    with closing(trainer.batches):
        views = next(trainer.batches).views
    ready = trainer.prepare(views)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    for raw, prepared in zip(views, ready, strict=True):
        assert raw is not None
        assert prepared is not None
        expected = (raw.double() / 255 - mean[:, None, None]) / std[:, None, None]
        torch.testing.assert_close(prepared.double(), expected, rtol=1e-5, atol=1e-6)
    assert ready.global_query.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.slow
def test_the_rate_follows_the_schedule(tiny_job: Jobs, reporter: Reporter, told: Told) -> None:
    trainer = make_trainer(tiny_job(), reporter, StopRequest(), CPU)
    with closing(trainer.batches):
        trainer.train()
    rates = [event.values["lr"] for event in told() if isinstance(event, Metrics)]
    assert rates == pytest.approx([0.03, 0.0225, 0.0075])
