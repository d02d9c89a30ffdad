"""Images of a data set, decoded and brought to the network's input ahead of the computation, in order."""

from collections.abc import Generator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from detco_core.contract.datasets import DatasetFile
from detco_core.contract.errors import DataError, ImageError
from detco_core.contract.extractions.options import ExtractionOptions
from detco_core.contract.manifest import Manifest
from detco_core.data.images import ImageFiles
from detco_core.data.sources import Bytes
from detco_core.extraction.boxes import BoxFile
from detco_core.extraction.crew import Crew
from detco_core.inference.outputs import needed
from detco_core.inference.pictures.images import Limits, decode
from detco_core.inference.pictures.preprocess import Prepared, prepare
from detco_core.inference.roi import Regions, place
from detco_core.inference.selection import Selection


@dataclass(frozen=True, slots=True)
class Ready:
    """An image that can be computed."""

    prepared: Prepared
    regions: Regions | None
    outputs: tuple[str, ...]
    """Of the network, that are needed."""
    bytes: int
    """Of its features."""


@dataclass(frozen=True, slots=True)
class Item:
    """One image of the data set, and what became of it."""

    file: DatasetFile
    found: Ready | ImageError

    @property
    def bytes(self) -> int:
        """Of its features; 0 where it is broken."""
        return self.found.bytes if isinstance(self.found, Ready) else 0


@dataclass(frozen=True, slots=True)
class Reader:
    """How an image is read: as `/features` reads it."""

    files: ImageFiles
    members: NDArray[np.int64]
    """Places in `files` of the images that are wanted, in order."""
    manifest: Manifest
    options: ExtractionOptions
    selection: Selection
    limits: Limits
    boxes: BoxFile | None = None

    def __len__(self) -> int:
        return len(self.members)

    def path(self, number: int) -> str:
        """Path in the data set of wanted image `number`."""
        return self.files.table.path(int(self.members[number]))

    def items(self, start: int, threads: int, ahead: int) -> Generator[Item]:
        """From wanted image `start` on, in order; `threads` decode, at most `ahead` images wait.

        Pillow and NumPy let go of the interpreter, so that threads do.
        """
        return Crew(self.item, threads, ahead, "read").results(range(start, len(self)))

    def item(self, number: int) -> Item:
        """Wanted image `number`; a broken one is one with its error."""
        file = self.files[int(self.members[number])]
        try:
            return Item(file, self._ready(int(self.members[number]), file.path))
        except ImageError as error:
            return Item(file, error)
        except DataError as error:
            return Item(file, ImageError("unreadable", str(error)))

    def _ready(self, member: int, path: str) -> Ready:
        data = _bytes(self.files.bytes(member), self.limits)
        decoded = decode(data, self.limits, self.options.orientation, self.manifest.input, bitmaps=True)
        prepared = prepare(decoded, self.manifest.input, self.options.resize)
        geometry = prepared.geometry
        regions = None if self.boxes is None else place(self.boxes.of(path), geometry)
        size = self.selection.size_of(self.manifest, geometry, None if regions is None else len(regions))
        return Ready(prepared, regions, needed(self.selection, self.manifest, geometry, regions), size)


def _bytes(where: Bytes, limits: Limits) -> bytes:
    """Of an encoded image; one over the limit is not read."""
    if isinstance(where, BytesIO):
        return where.getvalue()
    try:
        size = Path(where).stat().st_size
        if size > limits.bytes:
            raise ImageError("too_large", f"the file has {size} bytes; at most {limits.bytes} are taken")
        return Path(where).read_bytes()
    except OSError as error:
        raise ImageError("unreadable", error.strerror or str(error)) from error
