"""How the images of a labelled data set reach a frozen backbone: the same pixels for every source, in order.

N batch, B channels, S side of the network's input in pixels.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import ConcatDataset, DataLoader, Dataset

from detco_core.contract.config import ViewsConfig
from detco_core.contract.datasets import DatasetRef, fits_channels
from detco_core.contract.errors import DataError
from detco_core.contract.evaluations import Source
from detco_core.data.arrays import Pixels
from detco_core.data.images import ImageFiles
from detco_core.data.labelled import LabelledImages
from detco_core.data.statistics import CHANNELS, resolve_views
from detco_core.data.workers import worker_options

CROP = 224 / 256
"""Side of the central square that is used, as a share of the image's short side."""
_FEW = 2000
"""Images that are decoded in the time that loader processes take to start."""


class Splits(NamedTuple):
    """A labelled data set with both splits."""

    train: LabelledImages
    val: LabelledImages


@dataclass(frozen=True, slots=True)
class CentralSquare:
    """The central square of an image, `CROP` of its short side, resized to `size` (bilinear, antialiased).

    In one step, so that an image of extreme aspect is never blown up.
    """

    size: int

    def __call__(self, image: Image.Image | Pixels) -> Tensor:
        """RGB image -> uint8 `[3, size, size]`; array `[H, W, B]` -> float32 `[B, size, size]` of 0..255."""
        if isinstance(image, Image.Image):
            return torch.from_numpy(np.array(self._square(image))).permute(2, 0, 1).contiguous()
        # Channel by channel in floating point: Pillow has no images of any number of channels, nor antialiased 16 bits.
        planes = [Image.fromarray(plane.astype(np.float32)) for plane in np.moveaxis(image, 2, 0)]
        square = torch.from_numpy(np.stack([np.array(self._square(plane)) for plane in planes]))
        return square.div_(257.0) if image.dtype == np.uint16 else square

    def _square(self, image: Image.Image) -> Image.Image:
        side = min(image.size) * CROP
        left, top = (image.width - side) / 2, (image.height - side) / 2
        box = (left, top, left + side, top + side)
        return image.resize((self.size, self.size), Image.Resampling.BILINEAR, box=box)


def views_for(source: Source, dataset: DatasetRef) -> ViewsConfig | None:
    """How the images are read for a source that does not say it itself; None: it does.

    Random weights have no channels of their own: they get those of the data set where its images cannot be brought to
    three. Three are read as 8-bit RGB, any other count in the depth that the scan found.

    Raises:
        DataError: the images do not have the channels that the source takes, or differ among themselves.
    """
    if source.kind not in ("random", "weights"):
        return None
    files = ImageFiles.open(dataset)
    channels = source.channels or _own_channels(files)
    scanned = dataset.statistics.get(str(channels))
    depth = scanned.bit_depth if scanned is not None and channels != 3 else 8
    return resolve_views(ViewsConfig(channels=channels, bit_depth=depth), dataset, files)


def _own_channels(files: ImageFiles) -> int:
    stored = set(files.table.facts[:, CHANNELS].tolist())
    return stored.pop() if len(stored) == 1 and not fits_channels(min(stored), 3) else 3


def open_splits(dataset: DatasetRef, size: int, read_as: ViewsConfig | None = None) -> Splits:
    """Open both splits, images as squares of `size` pixels.

    Args:
        dataset: a labelled one.
        size: in pixels.
        read_as: its channels and bit depth are those the images are read with; None: 8-bit RGB.

    Raises:
        DataError: the data set is not labelled, lacks a split, or `train` has fewer than two classes.
    """
    if dataset.kind != "labelled":
        raise DataError(f"{dataset.name} is of kind {dataset.kind!r}; this evaluation needs a labelled data set")
    files = ImageFiles.open(dataset)
    # Twice the side needed: enough for the resize to be as good as from the whole image.
    train, val = (
        LabelledImages(files, split, CentralSquare(size), short_side=2 * size, read_as=read_as or ViewsConfig())
        for split in ("train", "val")
    )
    # A split without images says so when it is counted.
    if len(val) and len(set(train.labels)) < 2:
        raise DataError(f"{dataset.name} has one class in its train split; to classify takes two or more")
    return Splits(train, val)


def load_batches(splits: Splits, batch_size: int, workers: int) -> Iterator[Tensor]:
    """Every image of `train`, then of `val`, as `CentralSquare` gives it: `[N, B, S, S]`.

    `workers` processes load where it is worth it.

    Raises:
        DataError: naming the first file that cannot be read.
    """
    images: ConcatDataset[tuple[Tensor, int]] = ConcatDataset(splits)
    useful = min(workers, len(os.sched_getaffinity(0))) if len(images) > _FEW else 0
    batches = _Batches(images, batch_size)
    loader = DataLoader(
        batches,
        batch_size=None,
        sampler=range(len(batches)),
        collate_fn=_as_is,
        generator=torch.Generator(),
        **worker_options(useful),
    )
    for batch in loader:
        if isinstance(batch, DataError):
            raise batch
        yield batch


@dataclass(frozen=True)
class _Batches(Dataset[Tensor | DataError]):
    """Batches by number; built in the loader processes."""

    images: ConcatDataset[tuple[Tensor, int]]
    size: int

    def __len__(self) -> int:
        return -(-len(self.images) // self.size)

    def __getitem__(self, number: int) -> Tensor | DataError:
        """An error is handed back as a value, since torch would wrap its text in a traceback."""
        places = range(number * self.size, min((number + 1) * self.size, len(self.images)))
        try:
            return torch.stack([self.images[place][0] for place in places])
        except DataError as error:
            return error


def _as_is(item: object) -> object:
    return item
