"""One optimizer step: micro-batches forward and backward, the update, the keys; and what happens when numbers go bad.

N images of this process, D dim.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from detco_core.contract.config import RunConfig
from detco_core.method.detco import Contrasts
from detco_core.method.losses import Contrast
from detco_core.method.momentum import momentum_at
from detco_core.nets.encoder import Embeddings
from detco_core.runtime import distributed
from detco_core.runtime.device import autocast, to_layout
from detco_core.runtime.optim import gradient_norm, set_learning_rate
from detco_core.runtime.schedule import learning_rate
from detco_core.train.state import Stateful
from detco_core.views.batched import normalise
from detco_core.views.pipeline import Views

Skipped = Literal["overflow", "bad"]
"""Why a step changed no weight: fp16's scaler found its factor too large, or loss or gradients are NaN or infinite."""


class Outcome(NamedTuple):
    """What a step gave; means over its micro-batches, detached."""

    loss: Tensor
    terms: dict[str, Contrast]
    """By `TERM/STAGE`."""
    queries: Embeddings
    """`[N, D]` per stage."""
    keys: tuple[Embeddings, ...]
    """Of each micro-batch, of all processes."""
    skipped: Skipped | None = None


@dataclass(frozen=True, kw_only=True)
class Stepper:
    """Makes the steps of one run in one process."""

    config: RunConfig
    device: torch.device
    run: Stateful
    model: nn.Module
    """The method, or its DDP wrapper."""
    steps: int
    """Of the whole run: schedules end there."""

    @property
    def watchful(self) -> bool:
        """Whether each step's numbers are looked at before they are used.

        That makes the host wait for the device: free on the CPU, done by fp16's scaler in any case, else only on
        request.
        """
        alarms, precision = self.config.alarms, self.config.device.precision
        return self.device.type == "cpu" or precision == "fp16" or alarms.skip_bad_steps > 0

    def __call__(self, views: Views, done: int) -> Outcome:
        """Make the step after `done` steps, of views as `prepare` gives them.

        A bad step changes neither weights, optimizer, queues nor batch norm's statistics; the key encoder alone has
        made its move.
        """
        set_learning_rate(self.run.optimizer, learning_rate(self.config.optim, done, self.steps))
        self.run.method.move_key(momentum_at(self.config.method, done, self.steps))
        statistics = self._statistics() if self.watchful else []
        kept = [value.clone() for value in statistics]
        outcome = self.gradients(views)
        skipped = self._fault(outcome.loss) if self.watchful else None
        if skipped == "bad":
            for value, before in zip(statistics, kept, strict=True):
                value.copy_(before)
        else:
            self.run.scaler.step(self.run.optimizer)
            self.run.method.enqueue(outcome.keys)
        self.run.scaler.update()
        return outcome._replace(skipped=skipped)

    def gradients(self, views: Views) -> Outcome:
        """Forward and backward passes over the micro-batches; leaves the gradients of the whole batch."""
        parts = micro_batches(views, self.config.train.accumulate)
        self.run.optimizer.zero_grad(set_to_none=True)
        outputs = []
        for number, part in enumerate(parts, start=1):
            with self._exchange(last=number == len(parts)):
                with autocast(self.config.device, self.device):
                    output: Contrasts = self.model(part)
                self.run.scaler.scale(output.loss / len(parts)).backward()  # type: ignore[no-untyped-call]  # torch's
            outputs.append(detached(output))
        self.run.scaler.unscale_(self.run.optimizer)
        return joined(outputs)

    def prepare(self, views: Views) -> Views:
        """Bytes as they were loaded to normalised floats on the device."""
        mean, std = self.config.views.statistics

        def ready(x: Tensor) -> Tensor:
            moved = x.to(self.device, non_blocking=True)
            return to_layout(normalise(moved, mean, std), self.config.device)

        return each(views, ready)

    def _exchange(self, *, last: bool) -> AbstractContextManager[None]:
        """Processes average their gradients in the last backward pass only: it holds the sum of all."""
        if isinstance(self.model, DistributedDataParallel) and not last:
            return self.model.no_sync()
        return nullcontext()

    def _statistics(self) -> list[Tensor]:
        return [*self.run.method.query.buffers(), *self.run.method.key.buffers()]

    def _fault(self, loss: Tensor) -> Skipped | None:
        """What is wrong with the numbers of this step, the same answer in all processes."""
        # Gradients are averaged already; a loss is each process's own.
        norm = gradient_norm(self.run.method.query.parameters())
        good_loss, good_norm = torch.isfinite(torch.stack([distributed.mean(loss).to(norm.dtype), norm])).tolist()
        if good_loss and good_norm:
            return None
        scaler = self.run.scaler
        # Infinite gradients are fp16's business as usual, until its factor has nothing left to give.
        if good_loss and scaler.is_enabled() and scaler.get_scale() > 1:
            return "overflow"
        return "bad"


def micro_batches(views: Views, count: int) -> list[Views]:
    """A process's share of a step, cut along the batch into `count` equal parts, in order."""
    if count == 1:
        return [views]
    cut = [None if x is None else x.chunk(count) for x in views]
    return [Views(*(None if x is None else x[number] for x in cut)) for number in range(count)]  # type: ignore[arg-type]  # a None stays in its place


def each(views: Views, change: Callable[[Tensor], Tensor]) -> Views:
    """The views, each changed; a kind that is left out stays so."""
    return Views(*(x if x is None else change(x) for x in views))  # type: ignore[arg-type]  # a None stays in its place


def detached(output: Contrasts) -> Contrasts:
    """The output without its graph, whose memory the next micro-batch needs."""
    terms = {name: Contrast(*(value.detach() for value in term)) for name, term in output.terms.items()}
    globals_, locals_ = (tuple(x.detach() for x in kind) for kind in output.queries)
    return output._replace(loss=output.loss.detach(), terms=terms, queries=Embeddings(globals_, locals_))


def joined(outputs: Sequence[Contrasts]) -> Outcome:
    """Of several micro-batches: scalars averaged, queries one after another."""
    keys = tuple(output.keys for output in outputs)
    if len(outputs) == 1:
        return Outcome(outputs[0].loss, outputs[0].terms, outputs[0].queries, keys)
    terms = {
        name: Contrast(*(torch.stack(values).mean() for values in zip(*(o.terms[name] for o in outputs), strict=True)))
        for name in outputs[0].terms
    }
    globals_, locals_ = (
        tuple(torch.cat(parts) for parts in zip(*(o.queries[kind] for o in outputs), strict=True)) for kind in (0, 1)
    )
    return Outcome(torch.stack([o.loss for o in outputs]).mean(), terms, Embeddings(globals_, locals_), keys)
