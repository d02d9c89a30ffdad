"""Images in a data set that Hugging Face `datasets` saved to disk, read row by row from its memory-mapped files."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from io import BytesIO
from typing import Any

from detco_core.contract.datasets import DatasetFile
from detco_core.contract.errors import DataError
from detco_core.data.file_table import Member
from detco_core.data.locations import Location
from detco_core.data.manifest import stays_inside
from detco_core.data.sources import MAX_BYTES, Bytes, Listing, excluded, not_installed, unnamed

SPLITS_FILE = "dataset_dict.json"
PREFERRED = "image"
"""The column that is taken of several with images."""


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of a saved `Dataset`, or of all splits of a saved `DatasetDict`."""

    at: Location

    def listing(self, exclude: Sequence[str] = ()) -> Listing:
        """As `Source`. An image's path is its split and the number of its row."""
        return Listing(self._rows(exclude), ())

    def open(self, member: Member) -> Bytes:
        value = self.at.using(member.container or ".", lambda folder: open_rows(str(folder)).image(member.position))
        if value is None:
            raise DataError("the row holds no image")
        data: bytes | None = value["bytes"]
        if data is None:
            # `save_to_disk` embeds files; a path that was kept may lead anywhere.
            raise DataError("the row names a file instead of holding it")
        if len(data) > MAX_BYTES:
            raise DataError(f"{len(data)} bytes, more than the limit of {MAX_BYTES}")
        return BytesIO(data)

    def _rows(self, exclude: Sequence[str]) -> Iterator[DatasetFile]:
        for name in self._splits():
            prefix = "" if name == "." else f"{name}/"
            container = self.at.container(name)
            for row in range(self.at.using(container, lambda folder: len(open_rows(str(folder))))):
                file = unnamed(f"{prefix}{row:010d}")
                if not excluded(file.path, exclude):
                    yield replace(file, container=container, position=row)

    def _splits(self) -> list[str]:
        """Folders of rows, relative to the root; `.` is the root itself."""
        if not self.at.has_file(SPLITS_FILE):
            return ["."]
        try:
            with self.at.text(SPLITS_FILE) as file:
                splits = json.loads(file.read(MAX_BYTES))["splits"]
            names = sorted((str(split) for split in splits), key=lambda split: f"{split}/")
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{self.at}/{SPLITS_FILE} cannot be read: {error}") from error
        if not all(stays_inside(name) for name in names):
            raise DataError(f"{self.at}/{SPLITS_FILE} names a split outside the data set")
        return names


@dataclass(frozen=True, slots=True)
class SavedRows:
    """One saved `Dataset`, open in this process."""

    rows: Any
    """Of `datasets`, formatted as Arrow: nothing is decoded."""
    column: str

    def __len__(self) -> int:
        return len(self.rows)

    def image(self, row: int) -> dict[str, Any] | None:
        """`{"bytes": ..., "path": ...}` of a row; None where it has none."""
        if row >= len(self.rows):
            raise DataError(f"there are only {len(self.rows)} rows: scan the data set again")
        value: dict[str, Any] | None = self.rows[row][self.column][0].as_py()
        return value


@lru_cache(maxsize=16)
def open_rows(folder: str) -> SavedRows:
    """Open a folder that `Dataset.save_to_disk` wrote; kept open, since opening costs more than many rows.

    Raises:
        DataError: the library is missing, the folder is damaged, or not exactly one column (or one named `image`) has
            the type `Image`.
    """
    try:
        from datasets import Image, load_from_disk
    except ImportError as error:
        raise not_installed("a data set saved by Hugging Face datasets", "datasets", "hf") from error
    try:
        rows = load_from_disk(folder)
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{folder} cannot be opened as a saved data set: {error}") from error
    columns = [name for name, feature in rows.features.items() if isinstance(feature, Image)]
    if len(columns) != 1 and PREFERRED not in columns:
        found = f"{len(columns)} columns of images ({', '.join(columns)})" if columns else "no column of type Image"
        raise DataError(f"{folder} has {found}: keep one, or name it {PREFERRED!r}")
    column = PREFERRED if PREFERRED in columns else columns[0]
    return SavedRows(rows.select_columns(column).with_format("arrow"), column)
