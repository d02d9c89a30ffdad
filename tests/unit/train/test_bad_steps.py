"""A run fed NaN: it skips, keeps, tells, and gives up in the end. And the step it kept, made again."""

import dataclasses
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import torch

from detco_core.contract.errors import NumericsError
from detco_core.contract.events import ArtifactSaved, Body, CheckpointSaved, Finished, Metrics, Stopped, Warned
from detco_core.contract.jobs import PretrainJob
from detco_core.data.loaders import Batch
from detco_core.runtime.checkpoint import file_digest, load
from detco_core.runtime.stop import StopRequest
from detco_core.train.replay import replay
from detco_core.train.step import each
from detco_core.train.trainer import Trainer

Jobs = Callable[..., PretrainJob]
Trainers = Callable[..., AbstractContextManager[Trainer]]
Told = Callable[..., list[Body]]


def poisoned(batches: Generator[Batch], steps: set[int]) -> Generator[Batch]:
    """The batches, those of `steps` (from 1) with NaN in the first image's local key."""
    try:
        for batch in batches:
            if batch.step + 1 in steps:
                views = each(batch.views, torch.Tensor.float)
                views.local_key[0, 0, 0, 0, 0] = float("nan")  # type: ignore[index]  # it is there
                yield batch._replace(views=views)
            else:
                yield batch
    finally:
        batches.close()


def of(kind: type[Any], events: list[Body]) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


@pytest.mark.slow
def test_a_bad_step_is_skipped_kept_and_told(tiny_job: Jobs, trainer_of: Trainers, told: Told, tmp_path: Path) -> None:
    with trainer_of(tiny_job(alarms__skip_bad_steps=1)) as trainer:
        trainer.batches = poisoned(trainer.batches, {2})
        assert trainer.train() == Finished(step=3)
    events = told()
    (warning,) = [event for event in of(Warned, events) if event.code == "bad_step"]
    assert warning.details["step"] == 2
    assert len(warning.details["images"]) == 4
    assert all(name.endswith(".jpg") for name in warning.details["images"])
    assert len(set(warning.details["indices"])) == 4
    kept = next(event for event in of(ArtifactSaved, events) if event.name.startswith("replay/"))
    assert warning.details["replay"] == kept.path == "replay/step-00000002.pt"
    assert file_digest(tmp_path / "job" / kept.path) == kept.sha256
    losses = {event.step: event.values.get("loss") for event in of(Metrics, events)}
    assert losses[2] is None
    assert None not in (losses[1], losses[3])
    assert of(Metrics, events)[-1].values["skipped_steps"] == 1
    last = load(tmp_path / "job" / of(CheckpointSaved, events)[-1].path).state["method"]
    assert all(torch.isfinite(value).all() for value in last.values())
    # The queue holds the keys of two steps.
    assert last["queues.pointer"].item() == 8 % 8

    made_again = replay(tmp_path / "job" / kept.path)
    assert (made_again.step, list(made_again.images)) == (2, warning.details["images"])
    assert made_again.loss != made_again.loss
    assert made_again.first_bad == "key.backbone.conv1"
    assert {name.split("/")[0] for name, loss in made_again.terms.items() if loss != loss} == {"l2l"}


@pytest.mark.slow
def test_too_many_in_a_row_end_the_run(tiny_job: Jobs, trainer_of: Trainers, told: Told) -> None:
    with trainer_of(tiny_job(alarms__skip_bad_steps=1, train__checkpoint_every=1)) as trainer:
        trainer.batches = poisoned(trainer.batches, {1, 2, 3})
        with pytest.raises(NumericsError, match=r"at step 2 \(1 before it were skipped\).*replay/step-00000002\.pt"):
            trainer.train()
    events = told()
    assert [event.details["step"] for event in of(Warned, events) if event.code == "bad_step"] == [1, 2]
    # What the first one left was sound, and was saved.
    assert [event.step for event in of(CheckpointSaved, events)] == [1]


@pytest.mark.slow
def test_a_stop_among_bad_steps_does_not_begin_the_count_anew(
    tiny_job: Jobs, trainer_of: Trainers, told: Told, stop: StopRequest, tmp_path: Path
) -> None:
    """The same two bad steps, told in two attempts, end the run as they would have in one."""
    job = tiny_job(alarms__skip_bad_steps=1, train__checkpoint_every=1)
    with trainer_of(job, stop) as trainer:
        trainer.batches = poisoned(trainer.batches, {1, 2})
        assert trainer.train() == Stopped(step=1)
    saved = tmp_path / "job" / of(CheckpointSaved, told())[-1].path
    with trainer_of(tiny_job("rest", saved, alarms__skip_bad_steps=1, train__checkpoint_every=1)) as trainer:
        trainer.batches = poisoned(trainer.batches, {1, 2})
        with pytest.raises(NumericsError, match=r"at step 2 \(1 before it were skipped\)"):
            trainer.train()


def test_what_is_not_watched_is_found_at_the_next_look(tiny_job: Jobs, trainer_of: Trainers) -> None:
    """As on a GPU, where no step waits to see its own loss."""
    with trainer_of(tiny_job()) as trainer:
        trainer.losses += float("nan")
        with pytest.raises(NumericsError, match=r"at or before step 0: .*alarms\.skip_bad_steps 1"):
            trainer.check_numbers()


@pytest.mark.slow
def test_a_good_step_ends_the_row(tiny_job: Jobs, trainer_of: Trainers) -> None:
    with trainer_of(tiny_job()) as trainer:
        bad_steps = dataclasses.replace(trainer.bad_steps, in_a_row=3)
        batch = next(trainer.batches)
        good = trainer.stepper.gradients(trainer.stepper.prepare(batch.views))
        bad_steps.saw(batch, good._replace(skipped="overflow"), trainer.stepper.run)
        assert (bad_steps.in_a_row, bad_steps.skipped) == (0, 1)
