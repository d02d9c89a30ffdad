"""The training loop: batch, step, tell, save; until the steps are done or the process is asked to stop."""

from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from detco_core.contract.config import RunConfig
from detco_core.contract.errors import NumericsError
from detco_core.contract.events import Finished, Stopped
from detco_core.contract.jobs import PretrainJob
from detco_core.data.loaders import Batch
from detco_core.method.detco import Contrasts
from detco_core.method.momentum import momentum_at
from detco_core.runtime import checkpoint, distributed
from detco_core.runtime.device import autocast, to_layout
from detco_core.runtime.meters import Speed
from detco_core.runtime.optim import gradient_norm, set_learning_rate
from detco_core.runtime.schedule import learning_rate
from detco_core.runtime.stop import StopRequest
from detco_core.train.monitors import watch
from detco_core.train.narrator import Length, Narrator
from detco_core.train.record import software
from detco_core.train.state import Stateful, collect
from detco_core.views.batched import normalise
from detco_core.views.pipeline import Views


@dataclass(kw_only=True)
class Trainer:
    """One run in one process."""

    job: PretrainJob
    length: Length
    device: torch.device
    run: Stateful
    model: nn.Module
    """The method, or its DDP wrapper."""
    batches: Generator[Batch]
    """From step `done` on."""
    narrator: Narrator
    stop: StopRequest
    done: int = 0
    """Optimizer steps done."""
    speed: Speed = field(default_factory=Speed)
    losses: Tensor = field(default_factory=lambda: torch.zeros(()))
    """Sum of the losses since the last look: one bad loss spoils it, and no step has to wait for the GPU."""

    def train(self) -> Finished | Stopped:
        """Train to the last step, or to the one at which some process of the run is asked to stop.

        Raises:
            NumericsError: the loss is not finite; no checkpoint is written from there on.
            CheckpointError: a checkpoint cannot be written.
        """
        self.losses = torch.zeros((), device=self.device)
        while self.done < self.length.steps:
            with self.speed.waiting():
                batch = next(self.batches)
            output = self.step(batch)
            self.done += 1
            self.tell(batch, output)
            stopping = distributed.any_process(self.stop.requested)
            if stopping or self.done == self.length.steps or self.done % self.config.train.checkpoint_every == 0:
                self.save()
            if stopping and self.done < self.length.steps:
                return Stopped(step=self.done)
        return Finished(step=self.done)

    @property
    def config(self) -> RunConfig:
        return self.job.config

    def step(self, batch: Batch) -> Contrasts:
        """One optimizer step."""
        optimizer, scaler = self.run.optimizer, self.run.scaler
        set_learning_rate(optimizer, learning_rate(self.config.optim, self.done, self.length.steps))
        self.run.method.move_key(momentum_at(self.config.method, self.done, self.length.steps))
        views = self.prepare(batch.views)
        with autocast(self.config.device, self.device):
            output: Contrasts = self.model(views)
        optimizer.zero_grad(set_to_none=True)
        scaler.scale(output.loss).backward()  # type: ignore[no-untyped-call]  # torch has no annotation here
        scaler.unscale_(optimizer)
        scaler.step(optimizer)
        scaler.update()
        self.run.method.enqueue([output.keys])
        self.losses += output.loss.detach()
        return output

    def prepare(self, views: Views) -> Views:
        """Bytes as they were loaded to normalised floats on the device."""
        mean, std = self.config.views.statistics

        def ready(x: Tensor) -> Tensor:
            moved = x.to(self.device, non_blocking=True)
            return to_layout(normalise(moved, mean, std), self.config.device)

        return Views(*(x if x is None else ready(x) for x in views))  # type: ignore[arg-type]  # a None stays in its place

    def tell(self, batch: Batch, output: Contrasts) -> None:
        """Events about the step just done."""
        self.speed.step(self.config.train.batch_size)
        self.narrator.progress(self.done, self.speed)
        self.narrator.broken(batch.broken)
        if self.done % self.config.train.log_every == 0 or self.done == self.length.steps:
            self.check_numbers()
            parameters = self.run.method.query.parameters()
            values = watch(self.run.method, output, gradient_norm(parameters))
            values["lr"] = self.run.optimizer.param_groups[0]["lr"]
            self.narrator.metrics(self.done, values)

    def check_numbers(self) -> None:
        """Stop the run if a loss since the last look was not finite."""
        if not torch.isfinite(distributed.mean(self.losses)).item():
            raise NumericsError(
                f"the loss became NaN or infinite at or before step {self.done}: lower optim.lr, add "
                "optim.warmup_steps, or use device.precision fp32; continue from an earlier checkpoint"
            )
        self.losses.zero_()

    def save(self) -> None:
        """Write a checkpoint and say so; all processes take part, rank 0 writes."""
        self.check_numbers()
        state = collect(self.run)
        if distributed.rank() == 0:
            path = checkpoint.checkpoint_path(Path(self.job.folder), self.done)
            saved = checkpoint.save(path, self.describe(), state)
            checkpoint.prune(path.parent, self.job.keep_checkpoints)
            self.narrator.saved(saved, self.done)
        # Whoever leaves first is taken for a failure by the launcher, which then ends the others.
        distributed.barrier()

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
