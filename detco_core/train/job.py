"""The pretraining job: everything a run needs is built here, once, and handed to the trainer."""

import logging
from contextlib import ExitStack, closing
from pathlib import Path

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from detco_core.contract.config import RunConfig
from detco_core.contract.events import Finished, Started, Stopped, Warned
from detco_core.contract.jobs import PretrainJob
from detco_core.data.images import ImageFiles
from detco_core.data.loaders import make_loader, steps_per_epoch
from detco_core.method.catalog import make_method
from detco_core.method.detco import DetCo
from detco_core.runtime import checkpoint, distributed
from detco_core.runtime.device import check_precision, make_scaler, memory_format, open_device
from detco_core.runtime.optim import make_optimizer
from detco_core.runtime.reporter import Reporter
from detco_core.runtime.seeding import seed_all
from detco_core.runtime.stop import StopRequest
from detco_core.train.console import open_console
from detco_core.train.narrator import Length, Narrator
from detco_core.train.record import environment
from detco_core.train.resume import check_resumable
from detco_core.train.state import Stateful, restore
from detco_core.train.trainer import Trainer
from detco_core.views.pipeline import ViewPipeline

_log = logging.getLogger(__name__)


def run(job: PretrainJob, reporter: Reporter, stop: StopRequest) -> Finished | Stopped:
    """Pretrain in this process and its siblings; returns how it ended.

    Raises:
        DetcoError: the data, the checkpoint, the config or the numbers do not allow to go on.
    """
    device = open_device(job.config.device, distributed.local_rank())
    check_precision(job.config, device)
    with distributed.process_group(device), ExitStack() as cleanup:
        trainer = make_trainer(job, reporter, stop, device)
        cleanup.enter_context(closing(trainer.batches))
        cleanup.enter_context(trainer.narrator.console)
        ended = trainer.train()
    if isinstance(ended, Stopped) and distributed.rank() == 0:
        path = checkpoint.checkpoint_path(Path(job.folder), ended.step)
        _log.info("stopped at step %d; to continue, run the same command with --resume %s", ended.step, path)
    return ended


def make_trainer(job: PretrainJob, reporter: Reporter, stop: StopRequest, device: torch.device) -> Trainer:
    """Build the run, at its start or where its checkpoint left it, and announce it."""
    config = job.config
    files = ImageFiles.open(job.dataset)
    length = _length(config, files)
    stateful = _make_stateful(config, device)
    done = _resume(job, stateful, length) if job.resume is not None else 0
    reporter.emit(
        Started(environment=environment(config, device, stateful.method.batch_norm), resumed_from=done or None)
    )
    _warn(config, files, reporter)
    batches = make_loader(
        files,
        ViewPipeline(config.views, stateful.method.uses_patches),
        config,
        rank=distributed.rank(),
        world=distributed.world_size(),
        start_step=done,
        steps=length.steps,
    )
    console = open_console(visible=distributed.rank() == 0)
    return Trainer(
        job=job,
        length=length,
        device=device,
        run=stateful,
        model=_parallel(stateful.method, device),
        batches=batches,
        narrator=Narrator(folder=Path(job.folder), length=length, reporter=reporter, console=console),
        stop=stop,
        done=done,
    )


def _length(config: RunConfig, files: ImageFiles) -> Length:
    per_epoch = steps_per_epoch(files, config)
    epochs, steps = config.train.epochs, config.train.steps
    return Length(steps=epochs * per_epoch if epochs is not None else steps or 0, steps_per_epoch=per_epoch)


def _make_stateful(config: RunConfig, device: torch.device) -> Stateful:
    seed_all(config.seed)
    method = make_method(config).to(device).to(memory_format=memory_format(config.device)).train()
    return Stateful(
        method=method,
        optimizer=make_optimizer(method.query.parameters(), config.optim),
        scaler=make_scaler(config.device, device),
    )


def _resume(job: PretrainJob, stateful: Stateful, length: Length) -> int:
    """Continue from the job's checkpoint; returns the steps already done."""
    found = checkpoint.load(Path(job.resume or ""), job.resume_sha256)
    check_resumable(found.info, job, length.steps_per_epoch, distributed.world_size())
    restore(stateful, found.state)
    return found.info.step


def _parallel(method: DetCo, device: torch.device) -> nn.Module:
    """The method itself, or wrapped so that gradients are averaged over processes during the backward pass."""
    if distributed.world_size() == 1:
        return method
    return DistributedDataParallel(
        method,
        device_ids=[device.index] if device.type == "cuda" else None,
        # Queues are equal in all processes by construction, and batch norm's statistics are each process's own.
        broadcast_buffers=False,
        gradient_as_bucket_view=True,
    )


def _warn(config: RunConfig, files: ImageFiles, reporter: Reporter) -> None:
    queue, images = config.method.queue_size, len(files)
    if queue > images:
        message = (
            f"the queue ({queue}) is longer than the data set ({images} images): an image's own keys of earlier epochs "
            "are among its negatives; lower method.queue_size"
        )
        details = {"queue_size": queue, "images": images}
        reporter.emit(Warned(code="queue_exceeds_dataset", message=message, details=details))
