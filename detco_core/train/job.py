"""The pretraining job: everything a run needs is built here, once, and handed to the trainer."""

import warnings
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from detco_core.contract.advice import advice
from detco_core.contract.config import RunConfig
from detco_core.contract.errors import Fault, InvalidDocument
from detco_core.contract.events import Finished, Started, Stopped, Warned
from detco_core.contract.jobs import PretrainJob
from detco_core.contract.reader import plain
from detco_core.data.freshness import changed_files
from detco_core.data.images import ImageFiles
from detco_core.data.loaders import make_loader, steps_per_epoch
from detco_core.data.statistics import resolve_statistics
from detco_core.method.detco import DetCo
from detco_core.runtime import checkpoint, distributed
from detco_core.runtime.compilation import compile_all
from detco_core.runtime.device import check_precision, open_device
from detco_core.runtime.reporter import Reporter
from detco_core.runtime.stop import StopRequest
from detco_core.train.alarms import Alarms
from detco_core.train.bad_steps import BadSteps
from detco_core.train.console import open_console, say_end
from detco_core.train.init import require_init, start_from
from detco_core.train.narrator import Length, Narrator
from detco_core.train.record import environment
from detco_core.train.resume import check_resumable, extension
from detco_core.train.state import Stateful, make_stateful, restore
from detco_core.train.step import Stepper
from detco_core.train.tracks import open_tracks
from detco_core.train.trainer import Trainer
from detco_core.views.pipeline import ViewPipeline


def run(job: PretrainJob, reporter: Reporter, stop: StopRequest) -> Finished | Stopped:
    """Pretrain in this process and its siblings; returns how it ended.

    Raises:
        DetcoError: the data, the checkpoint, the config or the numbers do not allow to go on.
    """
    device = open_device(job.config.device, distributed.local_rank())
    check_precision(job.config, device)
    with distributed.process_group(device):
        trainer = make_trainer(job, reporter, stop, device)
        with closing(trainer.batches), trainer.narrator:
            ended = trainer.train()
        say_end(ended, Path(job.folder))
    return ended


def make_trainer(job: PretrainJob, reporter: Reporter, stop: StopRequest, device: torch.device) -> Trainer:
    """Build the run, at its start or where its checkpoint left it, and announce it."""
    require_init(job)
    files = ImageFiles.open(job.dataset)
    config, visible = resolve_statistics(job.config, job.dataset, files), distributed.rank() == 0
    job = replace(job, config=config)
    length = _length(config, files)
    stateful = make_stateful(config, device)
    start = _start(job, stateful, length)
    model = _parallel(_compiled(stateful.method, config, device), device)
    narrator = Narrator(
        folder=Path(job.folder),
        length=length,
        reporter=reporter,
        console=open_console(visible=visible),
        alarms=Alarms(config=config),
        tracks=open_tracks(job, start.done, visible=visible),
    )
    reporter.emit(
        Started(
            environment=environment(config, device, stateful.method.batch_norm, start.record),
            resumed_from=start.done or None,
        )
    )
    changed = changed_files(files, job.dataset)
    for warning in (*start.warnings, *(Warned(**plain(found)) for found in advice(config, len(files))), changed):
        if warning is not None:
            narrator.warn(warning)
    batches = make_loader(
        files,
        ViewPipeline(config.views, stateful.method.uses_patches),
        config,
        rank=distributed.rank(),
        world=distributed.world_size(),
        start_step=start.done,
        steps=length.steps,
    )
    trainer = Trainer(
        job=job,
        length=length,
        stepper=Stepper(config=config, device=device, run=stateful, model=model, steps=length.steps),
        batches=batches,
        narrator=narrator,
        bad_steps=BadSteps(job=job, narrator=narrator, name_of=files.table.path),
        stop=stop,
        done=start.done,
    )
    trainer.restore_watch(start.watch)
    return trainer


@dataclass(frozen=True, kw_only=True, slots=True)
class _Start:
    """Where a run begins."""

    done: int = 0
    """Steps done before."""
    record: dict[str, Any] = field(default_factory=dict)
    """For the run's record."""
    warnings: tuple[Warned, ...] = ()
    watch: Mapping[str, Any] = field(default_factory=dict)
    """What the trainer's watchers remember (`Trainer.watch_state`)."""


def _start(job: PretrainJob, stateful: Stateful, length: Length) -> _Start:
    """Bring the run to where the job says it starts: a checkpoint of its own, other weights, or as it is."""
    if job.resume is not None:
        return _resume(job, stateful, length, job.resume)
    if job.init is None:
        return _Start()
    record, report = start_from(job.init, stateful.method, job.config)
    return _Start(record={"init": record}, warnings=(report,))


def _resume(job: PretrainJob, stateful: Stateful, length: Length, path: str) -> _Start:
    """Continue from the job's checkpoint."""
    found = checkpoint.load(Path(path), job.resume_sha256)
    check_resumable(found.info, job, length.steps_per_epoch, distributed.world_size())
    extended = extension(found.info, job, length.steps)
    restore(stateful, found.state)
    # Where the weights came from in the beginning stays true, though the file is not looked at again.
    record = {} if job.init is None else {"init": plain(job.init)}
    # Checkpoints of earlier versions have no memory of alarms.
    watch = found.state.get("watch", {})
    if extended is None:
        return _Start(done=found.info.step, record=record, watch=watch)
    record = {**record, "extended": extended.details}
    return _Start(done=found.info.step, record=record, warnings=(extended,), watch=watch)


def _length(config: RunConfig, files: ImageFiles) -> Length:
    per_epoch = steps_per_epoch(files, config)
    epochs, steps = config.train.epochs, config.train.steps
    share = config.train.batch_size // distributed.world_size()
    if share % config.train.accumulate:
        message = f"must divide the {share} images a process takes of each step"
        raise InvalidDocument("run config", (Fault("train.accumulate", message),))
    return Length(steps=epochs * per_epoch if epochs is not None else steps or 0, steps_per_epoch=per_epoch)


def _compiled(method: DetCo, config: RunConfig, device: torch.device) -> DetCo:
    if config.device.compile:
        compile_all((method.query, method.key), device)
    return method


def _parallel(method: DetCo, device: torch.device) -> nn.Module:
    """The method itself, or wrapped so that gradients are averaged over processes during the backward pass."""
    if distributed.world_size() == 1:
        return method
    with warnings.catch_warnings():
        # torch 2.15 names a successor that would copy rank 0's buffers at the start, and itself advises against it.
        warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated", FutureWarning)
        return DistributedDataParallel(
            method,
            device_ids=[device.index] if device.type == "cuda" else None,
            # Queues are equal in all processes by construction, and batch norm's statistics are each process's own.
            broadcast_buffers=False,
            gradient_as_bucket_view=True,
        )
