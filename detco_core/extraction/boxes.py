"""The boxes of a data set's images, from a file: a mapping by image, or COCO annotations."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detco_core.contract.errors import DataError
from detco_core.inference.roi import Box

MAX_BYTES = 2**30
"""A larger file of boxes is not read."""


@dataclass(frozen=True, slots=True)
class BoxFile:
    """Boxes by image, as x1, y1, x2, y2 in pixels of the upright image."""

    path: str
    boxes: Mapping[str, tuple[Box, ...]]
    by_name: bool = False
    """The keys are names of files, wherever they lie, and not paths in the data set."""
    unused: tuple[str, ...] = ()
    """Keys that are no image of the data set."""

    @classmethod
    def read(cls, path: Path, images: Iterable[str]) -> "BoxFile":
        """Read the boxes of a data set with these `images`.

        Raises:
            DataError: the file cannot be read, is none of the two, or names none of the images, or several at once.
        """
        boxes = _read(path)
        unused, names = dict.fromkeys(boxes), Counter[str]()
        for image in images:
            unused.pop(image, None)
            names[image.rpartition("/")[2]] += 1
        if len(unused) < len(boxes):
            return cls(str(path), boxes, unused=tuple(unused))
        twice = next((name for name in boxes if names[name] > 1), None)
        if twice is not None:
            raise DataError(f"{path} names {twice!r}, and {names[twice]} images are called so: give their paths")
        if not any(name in names for name in boxes):
            first = next(iter(boxes), None)
            raise DataError(f"{path} names no image of the data set; its first is {first!r}: give their paths in it")
        return cls(str(path), boxes, by_name=True, unused=tuple(name for name in boxes if name not in names))

    def of(self, image: str) -> tuple[Box, ...]:
        """Of the image with this path in the data set; none where the file does not name it."""
        return self.boxes.get(image.rpartition("/")[2] if self.by_name else image, ())


def _read(path: Path) -> dict[str, tuple[Box, ...]]:
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise DataError(f"{path} has {size} bytes; a file of boxes may have {MAX_BYTES}")
        document = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} cannot be read as a JSON file of boxes: {error}") from error
    if not isinstance(document, dict):
        raise DataError(f"{path} is no file of boxes: expected images with their boxes, or COCO annotations")
    try:
        return _of_coco(document) if isinstance(document.get("annotations"), list) else _of_mapping(document)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} is no file of boxes: {_said(error)}") from error


def _of_mapping(document: Mapping[str, Any]) -> dict[str, tuple[Box, ...]]:
    return {image: tuple(_box(box, image) for box in boxes) for image, boxes in document.items()}


def _of_coco(document: Mapping[str, Any]) -> dict[str, tuple[Box, ...]]:
    """Annotations have `bbox` as x, y, width, height."""
    names = {image["id"]: str(image["file_name"]) for image in document["images"]}
    found: dict[str, list[Box]] = {name: [] for name in names.values()}
    for annotation in document["annotations"]:
        name = names[annotation["image_id"]]
        x, y, width, height = _box(annotation["bbox"], name)
        found[name].append((x, y, x + width, y + height))
    return {name: tuple(boxes) for name, boxes in found.items()}


def _box(box: Any, image: str) -> Box:
    numbers = [float(number) for number in box if not isinstance(number, bool | str)]
    if len(numbers) != 4 or len(box) != 4:
        raise ValueError(f"a box of {image} is {str(box)[:80]}: expected four numbers")
    return numbers[0], numbers[1], numbers[2], numbers[3]


def _said(error: Exception) -> str:
    return f"{error} is missing" if isinstance(error, KeyError) else str(error)
