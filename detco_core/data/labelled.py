"""Labelled images for evaluations that need only a class each."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from detco_core.contract.config import ViewsConfig
from detco_core.contract.errors import DataError
from detco_core.data.channels import open_pixels
from detco_core.data.images import ImageFiles
from detco_core.data.sources import Bytes


@dataclass(frozen=True)
class LabelledImages(Dataset[tuple[Tensor, int]]):
    """One split of a labelled data set: `transform` of the image, and the place of its label in `classes`."""

    files: ImageFiles
    split: str
    transform: Callable[[Any], Tensor]
    """Of an RGB image, or of an array where `read_as` asks for other channels or bits (`open_pixels`)."""
    short_side: int | None = None
    """Passed to `open_pixels`: images may come smaller, down to this short side in pixels."""
    read_as: ViewsConfig = field(default_factory=ViewsConfig)
    """Its channels and bit depth are looked at."""

    def __len__(self) -> int:
        return len(self.members)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """Raises `DataError` when the file cannot be read: an evaluation leaves none out silently."""
        member = int(self.members[index])
        where: Bytes = self.files.table.path(member)
        try:
            where = self.files.bytes(member)
            image = open_pixels(where, self.short_side, self.read_as)
        except DataError as error:
            raise DataError(f"{where}: {error}" if isinstance(where, str) else str(error)) from error
        return self.transform(image), int(self.labels[index])

    @cached_property
    def members(self) -> NDArray[np.int64]:
        """Places of the split's images in `files`; raises `DataError` when there is none."""
        places = self.files.table.places(split=self.split)
        if not len(places):
            raise DataError(f"{self.files.name} has no labelled images in split {self.split!r}")
        return places

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Every label of the data set, all splits together, sorted."""
        return self.files.table.labels()

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """The class of each image of the split, [n], without opening any."""
        return self.files.table.classes(self.members, self.classes)
