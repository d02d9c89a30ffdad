"""The images of a data set, and how the bytes of one become an RGB image."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import overload

import numpy as np
from PIL import Image

from detco_core.contract.datasets import DatasetFile, DatasetRef
from detco_core.contract.errors import DataError
from detco_core.data.catalog import find_source, located, source_of
from detco_core.data.file_table import FileTable, tabulate
from detco_core.data.manifest import read_manifest
from detco_core.data.opening import opened, quiet, upright_by
from detco_core.data.sources import Bytes, Source
from detco_core.pixels.deep import sixteen_bits

log = logging.getLogger(__name__)

NAMED_FILES = 100
"""Files of a listed root that the log names as left out."""


@dataclass(frozen=True, slots=True, eq=False)
class ImageFiles(Sequence[DatasetFile]):
    """The image files of a data set version, in the order of its manifest (sorted by path)."""

    name: str
    """`photos@1`, for messages."""
    root: str
    """Absolute path of what the data set was opened by, for messages."""
    source: Source
    table: FileTable

    @classmethod
    def open(cls, ref: DatasetRef) -> "ImageFiles":
        """Open a data set version by its manifest, or list its root when it has none.

        Sizes and channels of a root that was listed, not scanned, are 0.

        Raises:
            DataError: when the root does not fit the kind, the manifest was changed, or there is no image.
        """
        if ref.manifest is None:
            return _listed(ref)
        table = read_manifest(Path(ref.manifest), ref.digest)
        if not len(table):
            raise DataError(f"the manifest of {ref.name} names no images: scan {ref.root} again")
        at = located(ref.root, ref.cache)
        if not at.is_there():
            raise DataError(f"{at} is not there, or this machine does not see it")
        return cls(ref.name, ref.root, source_of(at, table, ref.allowed_roots), table)

    def __len__(self) -> int:
        return len(self.table)

    @overload
    def __getitem__(self, index: int) -> DatasetFile: ...
    @overload
    def __getitem__(self, index: slice) -> list[DatasetFile]: ...
    def __getitem__(self, index: int | slice) -> DatasetFile | list[DatasetFile]:
        if isinstance(index, slice):
            return [self.table.file(n) for n in range(*index.indices(len(self)))]
        return self.table.file(range(len(self))[index])

    def bytes(self, index: int) -> Bytes:
        """The encoded image `index`; raises `DataError`, with the reason alone, when it is not there any more."""
        return self.source.open(self.table.member(index))


def _listed(ref: DatasetRef) -> ImageFiles:
    layout, source = find_source(ref.kind, located(ref.root, ref.cache))
    listing = source.listing()
    table = tabulate(layout.placed(listing.files))
    for file in islice(listing.unusable, NAMED_FILES):
        log.warning("left out %s: %s", file.path, file.reason)
    if not len(table):
        raise DataError(f"no images in {ref.root}: expected {layout.expected}")
    return ImageFiles(ref.name, ref.root, source, table)


def open_image(where: Bytes | Path, short_side: int | None = None) -> Image.Image:
    """Decode an image, in a file or in memory, to upright RGB, 8 bits a channel.

    With `short_side` the image is brought down by a whole factor, as far as its short side stays at least that many
    pixels: JPEG while decoding, at a reduced DCT scale, others by averaging. 16-bit values keep their high byte, an
    alpha channel is dropped, of an animation the first frame is taken. Memory: four bytes a pixel as stored, up to
    eight while alpha, CMYK or a palette is converted; for JPEG of the reduced image.

    Raises:
        DataError: naming the file, when it cannot be read or has more than `MAX_PIXELS`.
    """
    try:
        with quiet():
            return decode_rgb(where, short_side)
    except DataError as error:
        raise DataError(f"{where}: {error}" if isinstance(where, str | Path) else str(error)) from error


def decode_rgb(where: Bytes | Path, short_side: int | None = None) -> Image.Image:
    """As `open_image`, without naming the file and without silencing Pillow's warnings: for use in threads."""
    with opened(where, high_bytes=True) as image:
        if short_side is not None:
            image.draft("RGB", (short_side, short_side))
        image.load()
        turn = upright_by(image)
        eight = _eight_bits(image)
    factor = min(eight.size) // short_side if short_side else 1
    if factor > 1:
        eight = eight.reduce(factor)
    # Grey is spread over three channels only now: a fourth of the memory until here, the same values.
    rgb = eight if eight.mode == "RGB" else eight.convert("RGB")
    return rgb if turn is None else rgb.transpose(turn)


def _eight_bits(image: Image.Image) -> Image.Image:
    """The image as `RGB`, or as `L` where it is grey."""
    if image.mode == "F":
        raise DataError("floating-point pixels have no known range: convert the file to 8 or 16 bits")
    if image.mode.startswith("I"):
        return Image.fromarray((sixteen_bits(image) >> 8).astype(np.uint8))
    mode = "L" if image.mode in ("1", "L", "LA", "La") else "RGB"
    # Pillow would copy what is in that mode already, and that may be half a gigabyte.
    return image if image.mode == mode else image.convert(mode)
