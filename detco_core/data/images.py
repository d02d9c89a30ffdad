"""A data set of image files, and how one file becomes an RGB image."""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from detco_core.contract.datasets import DatasetFile, DatasetRef
from detco_core.contract.errors import DataError
from detco_core.data.catalog import layout_of
from detco_core.data.filelist import FileTable, read_manifest, tabulate
from detco_core.data.listing import list_images

log = logging.getLogger(__name__)

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")
"""Pillow's decoders that may see a file, whatever its name says; the others are never tried."""
MAX_PIXELS = 178_956_970
"""An image with more is refused by its header; twice Pillow's own warning level, above which Pillow opens nothing."""

Transpose = Image.Transpose
UPRIGHT = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}
"""By EXIF orientation (tag 274); 1 and all else are upright already."""


@dataclass(frozen=True, slots=True, eq=False)
class ImageFiles(Sequence[DatasetFile]):
    """The image files of a data set version, in the order of its manifest (sorted by path)."""

    name: str
    """`photos@1`, for messages."""
    root: str
    """Absolute path of the folder the paths are relative to."""
    table: FileTable

    @classmethod
    def open(cls, ref: DatasetRef) -> "ImageFiles":
        """Open a data set version by its manifest, or list its root when it has none.

        Sizes and channels of a root that was listed, not scanned, are 0.

        Raises:
            DataError: when the root does not fit the kind, the manifest was changed, or there is no image.
        """
        root = Path(ref.root)
        layout = layout_of(ref.kind, root)
        table = read_manifest(Path(ref.manifest), ref.digest) if ref.manifest else tabulate(_listed(ref))
        if not len(table):
            raise DataError(f"no images in {root}: expected {layout.expected}")
        return cls(ref.name, str(root), table)

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

    def path(self, index: int) -> str:
        """Absolute path of file `index`."""
        return f"{self.root}/{self.table.path(index)}"


def _listed(ref: DatasetRef) -> Iterator[DatasetFile]:
    root = Path(ref.root)
    layout, listing = layout_of(ref.kind, root), list_images(root)
    for file in listing.unusable:
        log.warning("left out %s: %s", file.path, file.reason)
    for path in listing.paths:
        place = layout.place(path)
        if place is not None:
            yield DatasetFile(path=path, bytes=0, width=0, height=0, channels=0, label=place.label, split=place.split)


def open_image(path: str | Path, short_side: int | None = None) -> Image.Image:
    """Decode an image file to upright RGB, 8 bits a channel.

    With `short_side` the image is brought down by a whole factor, as far as its short side stays at least that many
    pixels: JPEG while decoding, at a reduced DCT scale, others by averaging. 16-bit values keep their high byte, an
    alpha channel is dropped, of an animation the first frame is taken.

    Raises:
        DataError: naming the file, when it cannot be read or has more than `MAX_PIXELS`.
    """
    try:
        with quiet(), opened(path) as image:
            if short_side is not None:
                image.draft("RGB", (short_side, short_side))
            image.load()
            turn = _turn(image)
            rgb = _rgb(image)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    factor = min(rgb.size) // short_side if short_side else 1
    if factor > 1:
        rgb = rgb.reduce(factor)
    return rgb if turn is None else rgb.transpose(turn)


@contextmanager
def quiet() -> Iterator[None]:
    """Silence Pillow's warnings about odd but readable files; process-wide, so not for use in threads."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def opened(path: str | Path) -> Iterator[Image.Image]:
    """Open an image file with its header checked and nothing decoded yet.

    Raises:
        DataError: with the reason alone, whatever goes wrong, also inside the `with` block.
    """
    try:
        with Image.open(path, formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise DataError(f"{image.width}x{image.height} pixels, more than the limit of {MAX_PIXELS}")
            yield image
    except DataError:
        raise
    except Exception as error:  # Pillow's parsers raise whatever they trip over
        raise DataError(_reason(error, Path(path))) from error


def _reason(error: Exception, path: Path) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "the file is empty" if not path.stat().st_size else "not an image in a supported format"
    if isinstance(error, Image.DecompressionBombError):
        return f"more pixels than the limit of {MAX_PIXELS}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


def _turn(image: Image.Image) -> Transpose | None:
    try:
        return UPRIGHT.get(image.getexif().get(274, 1))
    except Exception:  # noqa: BLE001  # damaged EXIF must not cost the image; its parser raises anything
        return None


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise DataError("floating-point pixels have no known range: convert the file to 8 or 16 bits")
    if image.mode.startswith("I"):
        return Image.fromarray(_high_byte(np.asarray(image))).convert("RGB")
    return image.convert("RGB")


def _high_byte(values: NDArray[np.generic]) -> NDArray[np.uint8]:
    wide = values.astype(np.int64)
    if wide.min() < 0 or wide.max() > 0xFFFF:
        raise DataError("32-bit pixels outside 0..65535 have no known range: convert the file to 8 or 16 bits")
    return (wide >> 8).astype(np.uint8)
