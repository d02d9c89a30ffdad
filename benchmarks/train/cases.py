"""The two that take turns: the real trainer, with marks around what it calls, and the bare passes of its network.

N batch, G side of a global view, P patches of an image, s side of a patch.
"""

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torchvision import models

from benchmarks.train.plan import Part, Plan
from benchmarks.train.spans import Timeline
from detco_core.contract.datasets import DatasetRef
from detco_core.contract.jobs import PretrainJob
from detco_core.data.loaders import Batch
from detco_core.method.detco import Contrasts
from detco_core.runtime.device import autocast, memory_format, to_layout
from detco_core.runtime.reporter import Reporter
from detco_core.runtime.stop import StopRequest
from detco_core.train.job import make_trainer
from detco_core.train.trainer import Trainer

BATCHES = 2
"""Loaded beforehand and fed over and over: loading is measured by itself."""


class Case(Protocol):
    """Something that can be run for some steps; its time goes to a timeline."""

    def run(self, steps: int) -> None:
        """Do `steps` steps."""


class EndOfRound(Exception):
    """The feed has given all batches of a round: the way out of the trainer's loop, without a checkpoint."""


class MethodCase:
    """The trainer of a preset, made and run by the code that trains; its loop is entered anew each round."""

    def __init__(self, trainer: Trainer, timeline: Timeline[Any]) -> None:
        self.trainer = trainer
        self.timeline = timeline
        self.batches = [next(trainer.batches) for _ in range(BATCHES)]
        trainer.batches.close()
        mark_calls(trainer, timeline)

    def run(self, steps: int) -> None:
        self.trainer.batches = self._feed(steps)
        with suppress(EndOfRound):
            self.trainer.train()

    def _feed(self, steps: int) -> Generator[Batch]:
        for _ in range(steps):
            self.timeline.switch(Part.PREPARE)
            yield self.batches[self.trainer.done % BATCHES]
        raise EndOfRound


@contextmanager
def open_method(plan: Plan, photos: Path, folder: Path, timeline: Timeline[Any]) -> Iterator[MethodCase]:
    """The trainer of `plan` on a folder of photos; its events go below `folder`."""
    job = PretrainJob(
        folder=str(folder), config=plan.config, dataset=DatasetRef(name="photos@1", kind="images", root=str(photos))
    )
    with Reporter(folder) as reporter:
        # Its console stays closed: a progress bar would draw over the tables.
        trainer = make_trainer(job, reporter, StopRequest(), plan.device)
        yield MethodCase(trainer, timeline)
        for track in trainer.narrator.tracks:
            track.close(finished=False)


def mark_calls(trainer: Trainer, timeline: Timeline[Any]) -> None:
    """Mark where the trainer's step enters and leaves each part; what it computes is not touched."""
    run = trainer.stepper.run
    method, optimizer = run.method, run.optimizer
    mark_forward(method.query, timeline, Part.QUERY_FORWARD)
    mark_forward(method.key, timeline, Part.KEY_FORWARD)
    mark_method(method, "move_key", timeline, Part.MOMENTUM)
    mark_method(method, "enqueue", timeline, Part.CONTRAST)
    # Called when all gradients are there: what follows looks at the numbers, until the optimizer is asked.
    mark_method(run.scaler, "unscale_", timeline, Part.MONITORS, after=Part.MONITORS)

    def backward_starts(_: nn.Module, __: object, output: Contrasts) -> None:
        timeline.switch(Part.CONTRAST)
        embeddings = [*output.queries.globals, *output.queries.locals]
        # The last made is gone through first: all of the losses, then the encoder, whose backward pass starts when the
        # first embedding has its gradient.
        torch.autograd.graph.register_multi_grad_hook(
            embeddings, lambda _: timeline.switch(Part.QUERY_BACKWARD), mode="any"
        )

    method.register_forward_pre_hook(lambda *_: timeline.switch(Part.CONTRAST))
    method.register_forward_hook(backward_starts)
    optimizer.register_step_pre_hook(lambda *_: timeline.switch(Part.OPTIMIZER))
    optimizer.register_step_post_hook(lambda *_: timeline.switch(Part.MONITORS))


def mark_forward(module: nn.Module, timeline: Timeline[Any], part: str) -> None:
    """Time in the module's forward belongs to `part`."""
    module.register_forward_pre_hook(lambda *_: timeline.enter(part))
    module.register_forward_hook(lambda *_: timeline.leave())


def mark_method(owner: object, name: str, timeline: Timeline[Any], part: str, after: str | None = None) -> None:
    """Time in a method of `owner` belongs to `part`, and from its end on to `after`, when that is given."""
    real: Callable[..., Any] = getattr(owner, name)

    def marked(*args: Any, **kwargs: Any) -> Any:
        with timeline.inside(part):
            result = real(*args, **kwargs)
        if after is not None:
            timeline.switch(after)
        return result

    setattr(owner, name, marked)


@dataclass
class BareCase:
    """torchvision's own network without its classifier: forward and backward, then forward, on views of a step's shape.

    That is the least a step of the method can cost. Gradients start at the pooled last stage.
    """

    plan: Plan
    network: nn.Module
    image: Tensor
    """`[N, C, G, G]`"""
    patches: Tensor
    """`[N * P, C, s, s]`"""
    direction: Tensor
    """A random direction: the gradient of a mean would come out of batch norm as zeros."""
    timeline: Timeline[Any]

    def run(self, steps: int) -> None:
        for _ in range(steps):
            with self.timeline.inside(Part.QUERY_FORWARD):
                loss = self._pass()
            with self.timeline.inside(Part.QUERY_BACKWARD):
                self.network.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]  # torch has no annotation here
            with self.timeline.inside(Part.KEY_FORWARD), torch.no_grad():
                self._pass()

    def _pass(self) -> Tensor:
        with autocast(self.plan.config.device, self.plan.device):
            pooled = self.network(self.patches), self.network(self.image)
        return torch.stack([(features.float() @ self.direction).mean() for features in pooled]).sum()


def open_bare(plan: Plan, timeline: Timeline[Any]) -> BareCase:
    """The bare network of `plan` with random weights, on random views."""
    views, config, device = plan.config.views, plan.config.device, plan.device
    network = models.get_model(plan.config.method.backbone, weights=None)
    width = network.fc.in_features
    network.fc = nn.Identity()
    generator = torch.Generator(device).manual_seed(0)

    def noise(count: int, side: int) -> Tensor:
        return to_layout(torch.randn(count, views.channels, side, side, generator=generator, device=device), config)

    batch = plan.config.train.batch_size
    return BareCase(
        plan=plan,
        network=network.to(device).to(memory_format=memory_format(config)).train(),
        image=noise(batch, views.global_size),
        patches=noise(batch * views.patches, views.patch_size),
        direction=torch.randn(width, generator=generator, device=device),
        timeline=timeline,
    )
