"""Cuts a labelled set from the photos themselves: the class is the photo, train and val come from separate halves.

It asks the simplest question one can ask of features without labels: does a crop lie nearer to other crops of its own
photo than to those of all others? A val crop shares no pixel with any train crop.
"""

import random
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from examples.demo.photos import open_upright

MOST_CLASSES = 64
CROPS = 6
"""Of a photo in each split."""
SHARE = 0.75
"""Side of a crop, as a share of the shorter side of its half."""
SIZE = 160
"""A crop is saved at most this large, in pixels a side."""


@dataclass(frozen=True)
class Crop:
    """A square of a photo: left, top, right, bottom in pixels, right and bottom excluded."""

    split: Literal["train", "val"]
    box: tuple[int, int, int, int]


def plan_crops(width: int, height: int, rng: random.Random) -> tuple[Crop, ...]:
    """Squares of a photo, at random within the half their split owns; the longer side is the one that is halved."""
    if height > width:
        turned = plan_crops(height, width, rng)
        return tuple(
            Crop(crop.split, (top, left, bottom, right)) for crop in turned for left, top, right, bottom in [crop.box]
        )
    half = width // 2
    side = max(1, int(SHARE * min(half, height)))
    starts: Sequence[tuple[Literal["train", "val"], int]] = (("train", 0), ("val", width - half))
    return tuple(
        Crop(split, _square(start + rng.randint(0, half - side), rng.randint(0, height - side), side))
        for split, start in starts
        for _ in range(CROPS)
    )


def cut_crops(photos: Sequence[Path], out: Path) -> int:
    """Write `out/{train,val}/PHOTO/N.jpg` for as many photos as there are classes; returns the number of classes."""
    shutil.rmtree(out, ignore_errors=True)
    step = max(1, len(photos) // MOST_CLASSES)
    chosen = photos[::step][:MOST_CLASSES]
    return sum(_cut(path, f"{index:02d}-{path.stem}", out, random.Random(index)) for index, path in enumerate(chosen))


def _cut(path: Path, name: str, out: Path, rng: random.Random) -> bool:
    photo = open_upright(path)
    if photo is None or min(photo.size) < 64:
        return False
    for number, crop in enumerate(plan_crops(*photo.size, rng)):
        target = out / crop.split / name / f"{number:02d}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        piece = photo.crop(crop.box)
        piece.thumbnail((SIZE, SIZE))
        piece.save(target, quality=95)
    return True


def _square(left: int, top: int, side: int) -> tuple[int, int, int, int]:
    return left, top, left + side, top + side
