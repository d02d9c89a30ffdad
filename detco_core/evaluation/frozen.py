"""Features of a frozen backbone for the images of a labelled data set.

n images, C channels of a stage.
"""

import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from detco_core.contract.errors import NumericsError
from detco_core.contract.events import Progress
from detco_core.evaluation.pixels import Splits, load_batches
from detco_core.evaluation.sources import FrozenBackbone
from detco_core.runtime.meters import Speed
from detco_core.views.batched import normalise

Values = NDArray[np.float32]
Labels = NDArray[np.int64]

_SPEAK_EVERY = 1.0
"""Seconds between progress events, at least."""


class Features(NamedTuple):
    """Features of one split, in the order of its images."""

    values: Values
    """`[n, C]`, each of length 1, or 0 where the map was all zeros."""
    labels: Labels
    """`[n]`, places in the data set's classes."""


def extract(
    backbone: FrozenBackbone,
    splits: Splits,
    stage: str,
    progress: Callable[[Progress], None],
    *,
    batch_size: int,
    workers: int,
) -> tuple[Features, Features]:
    """Features of `train` and `val`: one stage, averaged over space, each scaled to length 1.

    Raises:
        DataError: an image cannot be read.
        NumericsError: the features are not finite.
    """
    n = len(splits.train)
    pace = _Pace(n + len(splits.val), progress)
    values = _normed(
        np.concatenate(
            [
                backbone.pooled(normalise(pixels, backbone.mean, backbone.std), stage)
                for pixels in pace.watch(load_batches(splits, batch_size, workers))
            ]
        )
    )
    return Features(values[:n], splits.train.labels), Features(values[n:], splits.val.labels)


def _normed(values: Values) -> Values:
    if not np.isfinite(values).all():
        raise NumericsError("the backbone's features are not finite: its weights diverged; take an earlier checkpoint")
    lengths: Values = np.linalg.norm(values, axis=1, keepdims=True)
    lengths[lengths == 0] = 1
    return values / lengths


class _Pace:
    """Says how far the images are, now and then and at the end."""

    def __init__(self, images: int, progress: Callable[[Progress], None]) -> None:
        self._images = images
        self._progress = progress
        self._speed = Speed()
        self._done = 0
        self._spoke = float("-inf")

    def watch(self, batches: Iterator[Tensor]) -> Iterator[Tensor]:
        """Pass the batches on; a batch counts as done when the next is asked for."""
        while True:
            with self._speed.waiting():
                batch = next(batches, None)
            if batch is None:
                return
            yield batch
            self._count(len(batch))

    def _count(self, images: int) -> None:
        self._done += images
        self._speed.step(images)
        if self._done < self._images and time.monotonic() - self._spoke < _SPEAK_EVERY:
            return
        self._spoke = time.monotonic()
        rate = self._speed.images_per_second
        self._progress(
            Progress(
                step=self._done,
                steps=self._images,
                images_per_second=rate,
                data_wait=self._speed.data_wait,
                eta_seconds=(self._images - self._done) / rate if rate else None,
            )
        )
