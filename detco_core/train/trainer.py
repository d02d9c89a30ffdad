"""The training loop: batch, step, tell, save; until the steps are done or the process is asked to stop."""

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from detco_core.contract.config import RunConfig
from detco_core.contract.errors import NumericsError
from detco_core.contract.events import Finished, Stopped
from detco_core.contract.jobs import PretrainJob
from detco_core.data.loaders import Batch
from detco_core.method.momentum import momentum_at
from detco_core.runtime import checkpoint, distributed
from detco_core.runtime.memory import memory
from detco_core.runtime.meters import Speed
from detco_core.runtime.stop import StopRequest
from detco_core.train.bad_steps import REMEDY, BadSteps
from detco_core.train.monitors import queue_values, watch
from detco_core.train.narrator import Length, Narrator
from detco_core.train.record import software
from detco_core.train.state import collect
from detco_core.train.step import Outcome, Stepper


@dataclass(kw_only=True)
class Trainer:
    """One run in one process."""

    job: PretrainJob
    length: Length
    stepper: Stepper
    batches: Generator[Batch]
    """From step `done` on."""
    narrator: Narrator
    bad_steps: BadSteps
    stop: StopRequest
    done: int = 0
    """Steps done."""
    speed: Speed = field(default_factory=Speed)
    losses: Tensor = field(default_factory=lambda: torch.zeros(()))
    """Sum of the losses since the last look: one bad loss spoils it, and no step has to wait for the GPU."""

    def train(self) -> Finished | Stopped:
        """Train to the last step, or to the one at which some process of the run is asked to stop.

        Raises:
            NumericsError: the loss is not finite; no checkpoint is written from there on.
            CheckpointError: a checkpoint cannot be written.
        """
        self.losses = torch.zeros((), device=self.stepper.device)
        while self.done < self.length.steps:
            with self.speed.waiting():
                batch = next(self.batches)
            outcome = self.step(batch)
            self.tell(batch, outcome)
            stopping = distributed.any_process(self.stop.requested)
            if stopping or self.done == self.length.steps or self.done % self.config.train.checkpoint_every == 0:
                self.save()
            if stopping and self.done < self.length.steps:
                return Stopped(step=self.done)
        return Finished(step=self.done)

    @property
    def config(self) -> RunConfig:
        return self.job.config

    def step(self, batch: Batch) -> Outcome:
        """One step, kept for replay and counted when it went bad."""
        outcome = self.stepper(self.stepper.prepare(batch.views), self.done)
        self.done += 1
        self.bad_steps.saw(batch, outcome, self.stepper.run)
        if outcome.skipped is None:
            self.losses += outcome.loss
        return outcome

    def tell(self, batch: Batch, outcome: Outcome) -> None:
        """Events about the step just done."""
        self.speed.step(self.config.train.batch_size)
        self.narrator.progress(self.done, self.speed)
        self.narrator.broken(batch.broken)
        if self.done % self.config.train.log_every == 0 or self.done == self.length.steps:
            self.check_numbers()
            self.narrator.metrics(self.done, watch(self.stepper.run.method, outcome) | self.circumstances())

    def circumstances(self) -> dict[str, float]:
        """The values of a metric event that the host knows by itself."""
        config, scaler = self.config, self.stepper.run.scaler
        batch, left = config.train.batch_size, self.speed.eta_seconds(self.length.steps - self.done)
        return {
            "lr": self.stepper.run.optimizer.param_groups[0]["lr"],
            "momentum": momentum_at(config.method, self.done - 1, self.length.steps),
            **queue_values(self.done * batch, batch, config.method.queue_size),
            "data_wait": self.speed.data_wait,
            "images_per_second": self.speed.images_per_second,
            **({} if left is None else {"eta_seconds": left}),
            **memory(self.stepper.device),
            **({"loss_scale": scaler.get_scale()} if scaler.is_enabled() else {}),
            "skipped_steps": float(self.bad_steps.skipped),
        }

    def check_numbers(self) -> None:
        """Stop the run if a loss since the last look was not finite."""
        if not torch.isfinite(distributed.mean(self.losses)).item():
            raise NumericsError(
                f"the loss became NaN or infinite at or before step {self.done}: {REMEDY}; to have the very step kept "
                "for replay, continue with alarms.skip_bad_steps 1"
            )
        self.losses.zero_()

    def save(self) -> None:
        """Write a checkpoint and say so; all processes take part, rank 0 writes."""
        self.check_numbers()
        state = collect(self.stepper.run) | {"watch": self.watch_state()}
        if distributed.rank() == 0:
            path = checkpoint.checkpoint_path(Path(self.job.folder), self.done)
            saved = checkpoint.save(path, self.describe(), state)
            checkpoint.prune(path.parent, self.job.keep_checkpoints)
            self.narrator.saved(saved, self.done)
        # Whoever leaves first is taken for a failure by the launcher, which then ends the others.
        distributed.barrier()

    def watch_state(self) -> dict[str, Any]:
        """What those who watch the run remember."""
        return {"alarms": self.narrator.alarms.state_dict(), "bad_steps": self.bad_steps.state_dict()}

    def restore_watch(self, state: Mapping[str, Any]) -> None:
        """Put back what `watch_state` gave; empty at the start of a run."""
        if state:
            self.narrator.alarms.load_state_dict(state["alarms"])
            self.bad_steps.load_state_dict(state["bad_steps"])

    def describe(self) -> checkpoint.CheckpointInfo:
        """What the checkpoint of this moment says about itself."""
        return checkpoint.CheckpointInfo(
            step=self.done,
            epoch=self.length.epoch(self.done),
            steps=self.length.steps,
            steps_per_epoch=self.length.steps_per_epoch,
            config=self.config,
            dataset=self.job.dataset.name,
            dataset_digest=self.job.dataset.digest,
            world_size=distributed.world_size(),
            software=software(),
        )
