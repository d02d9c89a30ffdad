"""The images of a data set, and how the bytes of one become an RGB image."""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Literal, overload

import numpy as np
from PIL import Image, UnidentifiedImageError

from detco_core.contract.datasets import DatasetFile, DatasetRef
from detco_core.contract.errors import DataError
from detco_core.data.arrays import array_format, read_npy, read_tiff
from detco_core.data.catalog import find_source, located, source_of
from detco_core.data.file_table import FileTable, tabulate
from detco_core.data.limits import MAX_PIXELS, check
from detco_core.data.manifest import read_manifest
from detco_core.data.sources import Bytes, Source
from detco_core.pixels.deep import is_misread, sixteen_bits
from detco_core.pixels.orientation import TAG, UPRIGHT

log = logging.getLogger(__name__)

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")
"""Pillow's decoders that may see a file, whatever its name says; the others are never tried."""

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
    with opened(where, misread="high bytes") as image:
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


@contextmanager
def quiet() -> Iterator[None]:
    """Silence what Pillow and tifffile say of odd files, a line an entry; process-wide, so not for use in threads."""
    entries = logging.getLogger("tifffile")
    before, entries.disabled = entries.disabled, True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        entries.disabled = before


@contextmanager
def opened(where: Bytes | Path, misread: Literal["refused", "high bytes"] = "refused") -> Iterator[Image.Image]:
    """Open an image with its header checked and, but for arrays, nothing decoded yet.

    `misread`: what becomes of planes of 16 bits, which Pillow would take for planes of 8.

    Raises:
        DataError: with the reason alone, whatever goes wrong, also inside the `with` block.
    """
    try:
        with _open(where) as found:
            image = found if not is_misread(found) else _high_bytes(found, where, misread)
            if image.width * image.height > MAX_PIXELS:
                raise DataError(f"{image.width}x{image.height} pixels, more than the limit of {MAX_PIXELS}")
            yield image
    except DataError:
        raise
    except Exception as error:  # Pillow's parsers raise whatever they trip over
        raise DataError(_reason(error, where)) from error


def _open(where: Bytes | Path) -> Image.Image:
    check(where, for_pillow=True)
    try:
        return Image.open(where, formats=FORMATS)
    except UnidentifiedImageError:
        kept = where if isinstance(where, BytesIO) else str(where)
        if array_format(kept) != "npy":
            raise
    pixels = read_npy(kept)
    if pixels.shape[2] not in (1, 3):
        raise DataError(f"{pixels.shape[2]} channels make no RGB image: set views.channels to {pixels.shape[2]}")
    if pixels.shape[2] == 3 and pixels.dtype == np.uint16:
        pixels = (pixels >> 8).astype(np.uint8)
    return Image.fromarray(pixels if pixels.shape[2] == 3 else pixels[:, :, 0])


def _high_bytes(image: Image.Image, where: Bytes | Path, misread: str) -> Image.Image:
    """The same read by tifffile, and turned upright."""
    if misread == "refused":
        raise DataError(
            "Pillow misreads planes of 16 bits: name the file .tif, or save it with its channels interleaved"
        )
    stored = read_tiff(where if isinstance(where, BytesIO) else str(where))
    planes = np.moveaxis(stored.pixels >> 8, 2, 0)[: len(image.getbands())].astype(np.uint8)
    shown = Image.merge(image.mode, [Image.fromarray(plane) for plane in planes])
    turn = UPRIGHT.get(stored.orientation)
    return shown if turn is None else shown.transpose(turn)


def _reason(error: Exception, where: Bytes | Path) -> str:
    if isinstance(error, UnidentifiedImageError):
        size = len(where.getbuffer()) if isinstance(where, BytesIO) else Path(where).stat().st_size
        return "not an image in a supported format" if size else "the file is empty"
    if isinstance(error, Image.DecompressionBombError):
        return f"more pixels than the limit of {MAX_PIXELS}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


def upright_by(image: Image.Image) -> Image.Transpose | None:
    """The turn that brings an image upright, by its EXIF orientation; None when it is upright, or says nothing."""
    try:
        return UPRIGHT.get(image.getexif().get(TAG, 1))
    except Exception:  # noqa: BLE001  # damaged EXIF must not cost the image; its parser raises anything
        return None


def _eight_bits(image: Image.Image) -> Image.Image:
    """The image as `RGB`, or as `L` where it is grey."""
    if image.mode == "F":
        raise DataError("floating-point pixels have no known range: convert the file to 8 or 16 bits")
    if image.mode.startswith("I"):
        return Image.fromarray((sixteen_bits(image) >> 8).astype(np.uint8))
    mode = "L" if image.mode in ("1", "L", "LA", "La") else "RGB"
    # Pillow would copy what is in that mode already, and that may be half a gigabyte.
    return image if image.mode == mode else image.convert(mode)
