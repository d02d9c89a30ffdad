"""The features of an extraction by image name: lazily, by memory map, each file checked before it is used."""

import json
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from detco_client.errors import ClientError
from detco_client.file_cache import Files, FolderFiles
from detco_client.shard_files import open_shard
from detco_core.contract.errors import DataError
from detco_core.contract.extractions.files import (
    ASSIGNED,
    INDEX_FILE,
    ExtractionIndex,
    ShardFiles,
    StoredFile,
    read_index,
)

T = TypeVar("T")
Array = NDArray[Any]
_OPEN_SHARDS = 64
"""Each is an open file, mapped: images in any order come from all of them."""
_TRIES = 3


@dataclass(frozen=True, slots=True)
class ExtractedImage:
    """The features of one image, and how its pixels map to them. Sizes are width and height in pixels."""

    name: str
    arrays: dict[str, Array]
    """By level, read-only: `[1, C, h, w]`, `[1, C]` pooled; with K boxes `[K, C, S, S]` or `[K, C]`."""
    label: str | None
    split: str | None
    stored: tuple[int, int]
    """As in the file."""
    oriented: tuple[int, int]
    """As used: boxes are pixels of this."""
    resized: tuple[int, int]
    """The network's input without padding."""
    network: tuple[int, int]
    strides: dict[str, int]
    """By level: pixels of the network's input per cell."""
    scales: dict[str, float] = field(default_factory=dict)
    """By level, of int8: what a number stands for."""
    levels: tuple[str, ...] = ()
    """Each box's level, where roi_levels was `assign`."""
    clipped: tuple[int, ...] = ()
    """Places in its list of the boxes that stood out of the image."""

    @property
    def scale(self) -> tuple[float, float]:
        """Network pixels per image pixel, along x and y."""
        return self.resized[0] / self.oriented[0], self.resized[1] / self.oriented[1]

    def floats(self, level: str) -> NDArray[np.float32]:
        """The array of a level as float32, int8 multiplied by its scale."""
        array: NDArray[np.float32] = self.arrays[level].astype(np.float32)
        return array * np.float32(self.scales[level]) if level in self.scales else array


class ExtractedFeatures(Mapping[str, ExtractedImage]):
    """A finished extraction: image name -> features, in the order of the data set.

    Images that could not be read are not in it; `broken` says why. Needs neither torch nor, for safetensors, any
    library but numpy. Not for several threads at once; a loader's processes each get one of their own, by fork or by
    pickle, which takes no array along.
    """

    def __init__(self, files: Files | Path | str, index_sha256: str | None = None) -> None:
        """`files`: the folder of the shards, or where else they are; `index_sha256` is held against `index.json`.

        Raises:
            ClientError: there is no index, or it is another.
        """
        self._files = FolderFiles(Path(files)) if isinstance(files, Path | str) else files
        try:
            self.index: ExtractionIndex = read_index(self._files.find(INDEX_FILE, index_sha256))
        except DataError as error:
            raise ClientError(str(error)) from error
        self._places: dict[str, tuple[int, int]] | None = None
        self._broken: dict[str, str] = {}
        self._parts: dict[int, bytes] = {}
        self._shards: OrderedDict[int, Mapping[str, Array]] = OrderedDict()

    def __len__(self) -> int:
        return self.index.images - self.index.broken

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __contains__(self, name: object) -> bool:
        return name in self._all()

    def __getitem__(self, name: str) -> ExtractedImage:
        """Raises `KeyError` for an image that is not in it, saying why where it is broken."""
        place = self._all().get(name)
        if place is None:
            raise KeyError(f"{name}: {self._broken.get(name, 'not an image of this extraction')}")
        number, at = place
        text = self._part(number)
        return self._image(number, json.loads(text[at : text.index(b"\n", at)]))

    @property
    def broken(self) -> dict[str, str]:
        """Why each image that could not be read has no features."""
        self._all()
        return dict(self._broken)

    def close(self) -> None:
        """Let go of the files; arrays that were given out stay good."""
        self._shards.clear()
        self._parts.clear()

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_parts": {}, "_shards": OrderedDict()}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _all(self) -> dict[str, tuple[int, int]]:
        """Where the line of each image is: number of the part, and first byte."""
        if self._places is None:
            self._places = {}
            for number in range(len(self.index.shards)):
                text = self._part(number)
                at = text.index(b"\n") + 1
                while at < len(text):
                    end = text.index(b"\n", at)
                    entry = json.loads(text[at:end])
                    if entry["error"] is None:
                        self._places[entry["image"]] = (number, at)
                    else:
                        self._broken[entry["image"]] = entry["error"]["message"]
                    at = end + 1
        return self._places

    def _part(self, number: int) -> bytes:
        if number not in self._parts:
            part = self._about(number).part
            self._parts[number] = self._found(part, Path.read_bytes)
        return self._parts[number]

    def _shard(self, number: int) -> Mapping[str, Array]:
        if number not in self._shards:
            shard = self._about(number).shard
            self._shards[number] = self._found(shard, lambda path: open_shard(path, shard.path))
            if len(self._shards) > _OPEN_SHARDS:
                self._shards.popitem(last=False)
        self._shards.move_to_end(number)
        return self._shards[number]

    def _found(self, file: StoredFile, use: Callable[[Path], T]) -> T:
        """What `use` makes of a file; once more where another reader's full cache let go of it just then."""
        for _ in range(_TRIES):
            with suppress(FileNotFoundError):
                return use(self._files.find(file.path, file.sha256))
        raise ClientError(f"{file.path} is let go of before it can be read: give the readers of one cache more room")

    def _about(self, number: int) -> ShardFiles:
        return self.index.shards[number]

    def _image(self, number: int, entry: dict[str, Any]) -> ExtractedImage:
        tensors, row, rows = self._shard(number), entry["row"], entry["rows"]
        names = [name for name in (ASSIGNED, *(level.name for level in self.index.levels)) if name in tensors]
        # Tensors of one shape are stacked; whole maps are called ROW/LEVEL.
        arrays = {name: tensors[name][row : row + rows] for name in names} or {
            level.name: tensors[f"{row}/{level.name}"] for level in self.index.levels
        }
        return ExtractedImage(
            name=entry["image"],
            arrays=arrays,
            label=entry["label"],
            split=entry["split"],
            **{size: tuple(entry[size]) for size in ("stored", "oriented", "resized", "network")},
            strides={level.name: level.stride for level in self.index.levels},
            scales=entry["scales"],
            levels=tuple(entry["levels"]),
            clipped=tuple(entry["clipped"]),
        )
