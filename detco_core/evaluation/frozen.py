"""Features of a frozen backbone for the images of a labelled data set.

n images, C channels of a stage.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from detco_core.contract.errors import NumericsError
from detco_core.contract.events import Progress
from detco_core.evaluation.pixels import Splits, load_batches
from detco_core.evaluation.sources import FrozenBackbone
from detco_core.runtime.pace import Pace
from detco_core.views.batched import normalise

Values = NDArray[np.float32]
Labels = NDArray[np.int64]


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
    pace = Pace(n + len(splits.val), progress)
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
