"""A bad step as a file, and that step made again: which loss is NaN, and which layer was the first to give one.

::

    from detco_core.train.replay import replay
    print(replay(Path("runs/r1/replay/step-00000412.pt")))
"""

import json
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from detco_core.contract.config import DeviceConfig
from detco_core.contract.errors import CheckpointError
from detco_core.contract.jobs import PretrainJob
from detco_core.contract.reader import canonical_json, read
from detco_core.data.images import ImageFiles
from detco_core.data.loaders import Batch, make_loader
from detco_core.nets.encoder import Encoder
from detco_core.runtime import distributed
from detco_core.runtime.checkpoint import SavedFile, read_tensors, write_tensors
from detco_core.runtime.device import open_device
from detco_core.runtime.optim import gradient_norm
from detco_core.train.state import Stateful, collect, make_stateful, restore
from detco_core.train.step import Stepper
from detco_core.views.pipeline import ViewPipeline, Views

FOLDER = "replay"
FORMAT = 1
MAX_VIEW_BYTES = 256 << 20
"""Views of a batch up to this size are kept in the file; larger ones are made again from the data set."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Replayed:
    """What a step gave when it was made again."""

    step: int
    """Counted from 1."""
    images: tuple[str, ...]
    """The batch, by names in the data set."""
    loss: float
    terms: dict[str, float] = field(default_factory=dict)
    """Loss by `TERM/STAGE`."""
    gradient_norm: float
    first_bad: str | None
    """The first module, in order of computation, that gave NaN or infinity; None when the forward pass was good."""


def describe(job: PretrainJob, batch: Batch, run: Stateful, images: list[str]) -> dict[str, Any]:
    """Everything a step needs to be made again; every process must take part."""
    views = {name: x for name, x in batch.views._asdict().items() if x is not None}
    small = sum(x.nbytes for x in views.values()) <= MAX_VIEW_BYTES
    return {
        "format": FORMAT,
        "job": canonical_json(job),
        "step": batch.step,
        "epoch": batch.epoch,
        "indices": batch.indices,
        "images": images,
        "rank": distributed.rank(),
        "world_size": distributed.world_size(),
        "views": views if small else None,
        "state": collect(run),
    }


def write(path: Path, content: dict[str, Any]) -> SavedFile:
    """Write what `describe` gave; raises `CheckpointError` when it cannot be written."""
    return write_tensors(path, content)


def replay(path: Path, device: DeviceConfig | None = None) -> Replayed:
    """Make the step of a replay file again, forward and backward, without changing anything.

    Of several processes the file holds the share of one; it is made again alone, its keys are not shuffled and batch
    norm sees that share.

    Args:
        path: `replay/step-N.pt` of a run's folder.
        device: where and in what precision; None: as the run had it. Another precision shows whether it is to blame.

    Raises:
        CheckpointError: the file is missing, damaged, or does not fit its config.
        DataError: the views are not in the file and the data set is gone.
    """
    content = read_tensors(path)
    if content.get("format") != FORMAT:
        raise CheckpointError(f"{path} is not a step kept for replay by this version of detco")
    job = read(PretrainJob, json.loads(content["job"]), str(path))
    config = job.config if device is None else replace(job.config, device=device)
    where = open_device(config.device, distributed.local_rank())
    run = make_stateful(config, where)
    restore(run, content["state"])
    stepper = Stepper(config=config, device=where, run=run, model=run.method, steps=content["step"] + 1)
    with first_bad_output((run.method.query, run.method.key)) as found:
        outcome = stepper.gradients(stepper.prepare(views_of(content, job, local=run.method.uses_patches)))
    return Replayed(
        step=content["step"] + 1,
        images=tuple(content["images"]),
        loss=outcome.loss.item(),
        terms={name: term.loss.item() for name, term in outcome.terms.items()},
        gradient_norm=gradient_norm(run.method.query.parameters()).item(),
        first_bad=next(iter(found), None),
    )


@contextmanager
def first_bad_output(encoders: tuple[Encoder, Encoder]) -> Iterator[list[str]]:
    """Within this block the names of the query's and the key's layers that give NaN or infinity are collected."""
    found: list[str] = []

    def watcher(name: str) -> Any:
        def look(_: nn.Module, __: object, output: object) -> None:
            if isinstance(output, Tensor) and not torch.isfinite(output).all():
                found.append(name)

        return look

    with ExitStack() as hooks:
        for kind, encoder in zip(("query", "key"), encoders, strict=True):
            for name, module in encoder.named_modules():
                if not list(module.children()):
                    handle = module.register_forward_hook(watcher(f"{kind}.{name}"))
                    hooks.callback(handle.remove)
        yield found


def views_of(content: dict[str, Any], job: PretrainJob, *, local: bool) -> Views:
    """The views of a step that was kept: those in the file, or the same made again from the data set."""
    if content["views"] is not None:
        return Views(**{name: content["views"].get(name) for name in Views._fields})
    config = replace(job.config, data=replace(job.config.data, workers=0))
    batches = make_loader(
        ImageFiles.open(job.dataset),
        ViewPipeline(config.views, local),
        config,
        rank=content["rank"],
        world=content["world_size"],
        start_step=content["step"],
        steps=content["step"] + 1,
    )
    with closing(batches):
        return next(batches).views
