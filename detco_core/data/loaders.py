"""Brings views to the trainer, batch by batch, in an order that is a function of seed and epoch alone.

A batch is a pure function of its step: which images, which random numbers. So the numbers do not depend on how many
processes load, and resuming is starting at another step. A rank's batch is its slice of the global one.
"""

from collections.abc import Generator, Sized
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from detco_core.contract.config import RunConfig
from detco_core.contract.errors import DataError
from detco_core.data.channels import open_pixels
from detco_core.data.images import ImageFiles
from detco_core.data.statistics import check_channels
from detco_core.data.workers import worker_options
from detco_core.views.pipeline import ViewPipeline, Views, sample_rng


class Batch(NamedTuple):
    """What one rank trains on in one step."""

    step: int
    """Counted from 0: the first batch of a run that resumes after k steps has step k."""
    epoch: int
    """Counted from 0."""
    views: Views
    """Stacked: [n, ...] each, n = batch_size / world; uint8, or float32 of 0..255 for images of 16 bits."""
    indices: Tensor
    """int64 [n]: places of the images in the data set's list; of a replacement, the one used."""
    broken: tuple[str, ...]
    """Relative paths of files that could not be read and were replaced."""


def steps_per_epoch(files: Sized, config: RunConfig) -> int:
    """Whole batches in one pass over the data; what is left over is dropped, other images each epoch.

    Raises:
        DataError: when the data set holds less than one batch.
    """
    batch = config.train.batch_size
    if len(files) < batch:
        raise DataError(
            f"the data set has {len(files)} readable images, fewer than one batch of {batch}: "
            f"set train.batch_size to at most {len(files)}, or add images"
        )
    return len(files) // batch


def make_loader(
    files: ImageFiles,
    pipeline: ViewPipeline,
    config: RunConfig,
    *,
    rank: int,
    world: int,
    start_step: int,
    steps: int,
) -> Generator[Batch]:
    """Yield this rank's batches of the steps `start_step` to `steps` - 1.

    Closing the generator (or exhausting it) ends the loader processes. Tensors are in pinned memory when they will go
    to a CUDA device.

    Raises:
        DataError: when the batch does not divide by `world`, the data set is smaller than one batch or has images of
            other channels, or, while iterating, more files in a row are broken than a batch has images.
    """
    batch = config.train.batch_size
    if batch % world:
        raise DataError(f"train.batch_size {batch} does not divide by {world} processes: set a multiple of {world}")
    check_channels(files, config.views)
    source = StepBatches(
        files=files,
        pipeline=pipeline,
        seed=config.seed,
        batch_size=batch,
        first=rank * (batch // world),
        count=batch // world,
        steps_per_epoch=steps_per_epoch(files, config),
        short_side=config.data.decode_short_side,
    )
    loader = DataLoader(
        source,
        batch_size=None,
        sampler=range(start_step, steps),
        collate_fn=_as_is,
        pin_memory=config.device.kind != "cpu" and torch.cuda.is_available(),
        # A generator of its own: torch would draw worker seeds from the global one, and change the trainer's numbers.
        generator=torch.Generator(),
        **worker_options(config.data.workers),
    )
    return _iterate(loader)


def _iterate(loader: DataLoader[Batch | DataError]) -> Generator[Batch]:
    batches = iter(loader)
    try:
        for batch in batches:
            if isinstance(batch, DataError):
                raise batch
            # Pinning memory makes a list of a tuple.
            yield batch._replace(broken=tuple(batch.broken))
    finally:
        del batches  # the only reference: its end stops the loader processes


def _as_is(item: object) -> object:
    return item


@lru_cache(maxsize=2)
def epoch_order(count: int, seed: int, epoch: int) -> NDArray[np.uint32]:
    """The order of the images in one epoch: a permutation of `count`, uint32, read-only.

    It is what each loader process holds of a data set whose table is mapped: four bytes an image.
    """
    order = np.random.Generator(np.random.Philox(key=[seed, epoch], counter=[0, 0, 1, 0])).permutation(count)
    lean = order.astype(np.uint32)
    lean.flags.writeable = False
    return lean


@dataclass(frozen=True, kw_only=True)
class StepBatches(Dataset[Batch | DataError]):
    """Maps a step to one rank's batch; built in the loader processes."""

    files: ImageFiles
    pipeline: ViewPipeline
    seed: int
    batch_size: int
    """Over all ranks."""
    first: int
    """Place of this rank's first image in the global batch."""
    count: int
    """Images of this rank."""
    steps_per_epoch: int
    short_side: int

    def __getitem__(self, step: int) -> Batch | DataError:
        """The batch of `step`; an error is handed back as a value, since torch would wrap its text in a traceback."""
        try:
            return self._batch(step)
        except DataError as error:
            return error

    def _batch(self, step: int) -> Batch:
        epoch, place = divmod(step, self.steps_per_epoch)
        start = place * self.batch_size + self.first
        broken: list[str] = []
        samples = [self._sample(epoch, position, broken) for position in range(start, start + self.count)]
        indices = torch.tensor([index for index, _ in samples], dtype=torch.int64)
        return Batch(step, epoch, _stack([views for _, views in samples]), indices, tuple(dict.fromkeys(broken)))

    def _sample(self, epoch: int, position: int, broken: list[str]) -> tuple[int, Views]:
        """The image at `position` of the epoch's order, or the next readable one after it, wrapping around.

        A replacement is seen with the random numbers of the image it stands for, so that it does not equal itself when
        it is also in the batch in its own right.
        """
        order = epoch_order(len(self.files), self.seed, epoch)
        rng = sample_rng(self.seed, epoch, int(order[position]))
        while True:
            index = int(order[position % len(order)])
            try:
                image = open_pixels(self.files.bytes(index), self.short_side, self.pipeline.config)
                return index, self.pipeline(image, rng)
            except DataError as error:
                broken.append(self.files.table.path(index))
                if len(broken) > self.batch_size:
                    raise DataError(
                        f"a whole batch of {self.files.name}, {len(broken)} files, cannot be read; the last one, "
                        f"{broken[-1]}: {error}. Is {self.files.root} still there? Scan the data set again"
                    ) from error
                position += 1


def _stack(samples: list[Views]) -> Views:
    queries, keys, *local = ([view for view in views if view is not None] for views in zip(*samples, strict=True))
    local_queries, local_keys = (torch.stack(views) if views else None for views in local)
    return Views(torch.stack(queries), torch.stack(keys), local_queries, local_keys)
