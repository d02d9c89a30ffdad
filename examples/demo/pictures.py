"""The demo's pictures of features: what each level looks like, and what in a photo is like what."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from examples.demo.projections import Map, pca_rgb, similarity
from examples.demo.style import ACCENT, HEAD, HEAT, INK, MARGIN, QUIET, bare, drawing, place, save, sheet

GAP = 0.12
LABEL = 0.34
COLDEST = -0.4
"""The similarity that is drawn black; what is less alike still is drawn so too."""
FEATURES_NOTE = (
    "Each cell is one position of a level. Its features are compared by direction; the three strongest components "
    "of the photo's own cells are the colors, so colors mean something within a picture, not between pictures."
)
SIMILARITY_NOTE = (
    "Each place is compared with the marked one by the cosine of their features, after the mean of all places has been "
    "taken away: after a ReLU everything is alike otherwise."
)


@dataclass(frozen=True)
class Compared:
    """One photo as two backbones see it: maps by level."""

    photo: Image.Image
    trained: Mapping[str, Map]
    untrained: Mapping[str, Map]
    strides: Mapping[str, int]
    names: tuple[str, str]
    """What the two rows are called."""

    @property
    def rows(self) -> tuple[tuple[str, Mapping[str, Map]], ...]:
        return ((self.names[0], self.trained), (self.names[1], self.untrained))


def draw_features(compared: Compared, path: Path) -> Path:
    """The photo, and for each level three principal components as colors: trained above, untrained below."""
    levels = list(compared.trained)
    with drawing():
        below = "Three principal components of each level as red, green and blue: places of one color look alike to it."
        figure = _grid(compared, levels, "What the backbone sees", below)
        for row, (_, maps) in enumerate(compared.rows):
            for column, level in enumerate(levels):
                axes = _cell(figure, compared, row, column + 1)
                axes.imshow(pca_rgb(maps[level]), interpolation="nearest", aspect="auto")
                if row == 0:
                    _level_title(axes, level, maps[level], compared.strides)
        _photo_cell(figure, compared)
        _note(figure, compared, FEATURES_NOTE)
        return save(figure, path)


def draw_similarity(compared: Compared, point: tuple[float, float], path: Path) -> Path:
    """How like each place of the photo is to one chosen point, for each level."""
    levels = list(compared.trained)
    with drawing():
        below = "Cosine similarity of every place of the photo to the marked point: dark is unlike, bright is alike."
        figure = _grid(compared, levels, "What is like this point", below)
        for row, (_, maps) in enumerate(compared.rows):
            for column, level in enumerate(levels):
                axes = _cell(figure, compared, row, column + 1)
                _heat(axes, compared.photo, similarity(maps[level], point), point)
                if row == 0:
                    _level_title(axes, level, maps[level], compared.strides)
        _mark(_photo_cell(figure, compared), compared.photo.size, point)
        _note(figure, compared, SIMILARITY_NOTE)
        _color_bar(figure, compared)
        return save(figure, path)


def _grid(compared: Compared, levels: Sequence[str], title: str, below: str) -> Figure:
    width, height = _cell_size(compared.photo)
    columns = len(levels) + 1
    total = 2 * MARGIN + LABEL + columns * width + (columns - 1) * GAP
    figure = sheet(total, HEAD + LABEL + 2 * height + GAP + MARGIN, title, below)
    for row, (name, _) in enumerate(compared.rows):
        left, bottom, _, tall = _place(figure, compared, row, 1)
        figure.text(left - 0.1 / total, bottom + tall / 2, name, rotation=90, ha="right", va="center", color=QUIET)
    return figure


def _cell_size(photo: Image.Image) -> tuple[float, float]:
    """Inches of one cell: of the photo's shape, all of about the same area."""
    area, shape = 4.6, photo.width / photo.height
    return math.sqrt(area * shape), math.sqrt(area / shape)


def _place(figure: Figure, compared: Compared, row: int, column: int) -> tuple[float, float, float, float]:
    width, height = _cell_size(compared.photo)
    left = MARGIN + column * (width + GAP) + (LABEL if column else 0)
    return place(figure, left, HEAD + LABEL + row * (height + GAP), width, height)


def _cell(figure: Figure, compared: Compared, row: int, column: int) -> Any:
    return bare(figure.add_axes(_place(figure, compared, row, column)))


def _photo_cell(figure: Figure, compared: Compared) -> Any:
    axes = _cell(figure, compared, 0, 0)
    axes.imshow(compared.photo, aspect="auto", interpolation="lanczos")
    axes.set_title("photo")
    return axes


def _note(figure: Figure, compared: Compared, words: str) -> None:
    """A few lines in the empty place under the photo."""
    left, bottom, width, height = _place(figure, compared, 1, 0)
    total_width, total_height = figure.get_size_inches()
    lines = textwrap.wrap(words, int(width * total_width * 13.5))
    top = bottom + height - 0.1 / total_height
    figure.text(left, top, "\n".join(lines), fontsize=8.5, color=QUIET, va="top", linespacing=1.5)


def _color_bar(figure: Figure, compared: Compared) -> None:
    left, bottom, width, height = _place(figure, compared, 1, 0)
    axes = bare(figure.add_axes((left, bottom + 0.1 * height, width, 0.05 * height)))
    axes.imshow(np.linspace(0, 1, 256)[None], cmap=HEAT, aspect="auto")
    for words, at, side in ((f"{COLDEST:g} and less", 0.0, "left"), ("1", 1.0, "right")):
        axes.text(at, -0.5, words, transform=axes.transAxes, ha=side, va="top", fontsize=8.5, color=QUIET)


def _level_title(axes: Any, level: str, features: Map, strides: Mapping[str, int]) -> None:
    axes.set_title(level, color=INK, fontweight="bold")
    words = f"stride {strides.get(level, 0)}, {len(features)} channels"
    axes.set_title(words, loc="right", color=QUIET, fontsize=8.5)


def _heat(axes: Any, photo: Image.Image, values: Any, point: tuple[float, float]) -> None:
    axes.imshow(photo.convert("L"), cmap="gray", aspect="auto", extent=(0, 1, 1, 0), interpolation="lanczos")
    axes.imshow(
        values, cmap=HEAT, vmin=COLDEST, vmax=1, alpha=0.78, aspect="auto", extent=(0, 1, 1, 0), interpolation="bicubic"
    )
    axes.plot(*point, "o", ms=6, mfc="none", mec="white", mew=1.4)


def _mark(axes: Any, size: tuple[int, int], point: tuple[float, float]) -> None:
    x, y = point[0] * size[0], point[1] * size[1]
    axes.plot(x, y, "o", ms=11, mfc="none", mec="white", mew=3.5)
    axes.plot(x, y, "o", ms=11, mfc="none", mec=ACCENT, mew=2)
