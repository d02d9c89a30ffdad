"""The loop where it leaves the straight path: asked to stop, numbers gone bad, collapse, a disk that is full."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from detco_core.contract.errors import CheckpointError, NumericsError
from detco_core.contract.events import Body, CheckpointSaved, Finished, Metrics, Stopped, Warned
from detco_core.contract.jobs import PretrainJob
from detco_core.runtime.stop import StopRequest
from detco_core.train.trainer import Trainer

Jobs = Callable[..., PretrainJob]
Trainers = Callable[..., AbstractContextManager[Trainer]]
Told = Callable[..., list[Body]]


def of(kind: type[Any], events: list[Body]) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


def poison(trainer: Trainer) -> None:
    """What a diverged step leaves behind."""
    with torch.no_grad():
        next(trainer.stepper.run.method.query.parameters())[0] = float("nan")


def collapse(trainer: Trainer) -> None:
    """Every embedding becomes the same one: heads that see nothing of their input."""
    method = trainer.stepper.run.method
    for encoder in (method.query, method.key):
        for heads in (encoder.global_heads, encoder.local_heads):
            for module in heads.modules():
                if isinstance(module, nn.Linear):
                    nn.init.zeros_(module.weight)
                    nn.init.ones_(module.bias)


@pytest.mark.slow
def test_asked_to_stop_it_saves_after_the_step_and_leaves(
    tiny_job: Jobs, trainer_of: Trainers, stop: StopRequest, told: Told
) -> None:
    with trainer_of(tiny_job(train__checkpoint_every=100), stop) as trainer:
        assert trainer.train() == Stopped(step=1)
    assert [event.step for event in of(CheckpointSaved, told())] == [1]


@pytest.mark.slow
def test_asked_to_stop_in_the_last_step_it_finishes(tiny_job: Jobs, trainer_of: Trainers, stop: StopRequest) -> None:
    with trainer_of(tiny_job(train__steps=1), stop) as trainer:
        assert trainer.train() == Finished(step=1)


@pytest.mark.slow
def test_nan_ends_the_run_at_its_step_and_is_never_saved(
    tiny_job: Jobs, trainer_of: Trainers, told: Told, tmp_path: Path
) -> None:
    """Also when nobody would have looked at the numbers for long."""
    with trainer_of(tiny_job(train__steps=10, train__log_every=10)) as trainer:
        poison(trainer)
        with pytest.raises(NumericsError, match=r"at step 1: lower optim\.lr"):
            trainer.train()
    assert not of(Metrics, told()) + of(CheckpointSaved, told())
    assert not (tmp_path / "job" / "checkpoints").exists()


@pytest.mark.slow
def test_infinity_counts_too(tiny_job: Jobs, trainer_of: Trainers) -> None:
    with trainer_of(tiny_job()) as trainer:
        trainer.losses = torch.tensor(float("inf"))
        with pytest.raises(NumericsError):
            trainer.check_numbers()


@pytest.mark.slow
def test_a_run_that_collapses_says_so(tiny_job: Jobs, trainer_of: Trainers, told: Told) -> None:
    """Once for the embeddings; and once for losses at chance, as soon as the queue holds nothing but that one key."""
    job = tiny_job(train__steps=5, train__checkpoint_every=100, optim__lr=1e-12, alarms__stuck_steps=2)
    with trainer_of(job) as trainer:
        collapse(trainer)
        trainer.train()
    alarms = [(event.code, event.details["reason"], event.details["step"]) for event in of(Warned, told())]
    # Two steps fill the queue of 8; the third is the first at chance.
    assert alarms == [("collapse", "std", 3), ("collapse", "stuck", 5)]
    first, second = of(Warned, told())
    kinds = [f"{kind}/res{stage}" for kind in ("global", "local") for stage in range(2, 6)]
    assert set(first.details["values"]) == {f"embedding_std/{name}" for name in kinds}
    assert "loss/l2l/res5" in second.details["values"]
    assert of(Metrics, told())[0].values["effective_rank/global/res5"] == pytest.approx(1, abs=1e-3)


@pytest.mark.slow
def test_a_checkpoint_that_cannot_be_written_ends_the_run(tiny_job: Jobs, trainer_of: Trainers, tmp_path: Path) -> None:
    with trainer_of(tiny_job(train__checkpoint_every=1)) as trainer:
        (tmp_path / "job" / "checkpoints").write_text("in the way")
        with pytest.raises(CheckpointError, match=r"cannot write .*checkpoints"):
            trainer.train()


def test_views_reach_the_method_normalised(tiny_job: Jobs, trainer_of: Trainers) -> None:
    with trainer_of(tiny_job()) as trainer:
        views = next(trainer.batches).views
        ready = trainer.stepper.prepare(views)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    for raw, prepared in zip(views, ready, strict=True):
        assert raw is not None
        assert prepared is not None
        expected = (raw.double() / 255 - mean[:, None, None]) / std[:, None, None]
        torch.testing.assert_close(prepared.double(), expected, rtol=1e-5, atol=1e-6)
    assert ready.global_query.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.slow
def test_rates_follow_their_schedules(tiny_job: Jobs, trainer_of: Trainers, told: Told) -> None:
    with trainer_of(tiny_job(method__momentum_schedule="cosine", method__momentum=0.9)) as trainer:
        trainer.train()
    values = [event.values for event in of(Metrics, told())]
    assert [value["lr"] for value in values] == pytest.approx([0.03, 0.0225, 0.0075])
    assert [value["momentum"] for value in values] == pytest.approx([0.9, 0.925, 0.975])
    assert [(value["queue_age"], value["queue_filled"]) for value in values] == [(1, 0.5), (2, 1.0), (2, 1.0)]
