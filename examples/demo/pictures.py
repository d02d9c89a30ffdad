"""The demo's pictures: what the features look like, what is like what, how the losses went, which photos there were."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image, ImageOps

from examples.demo.projections import Map, pca_rgb, similarity
from examples.demo.style import ACCENT, HEAT, INK, MARGIN, QUIET, STAGE_COLORS, bare, drawing, save, sheet

HEAD = 1.05
"""Inches above the first row, for the headline."""
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


def draw_losses(metrics: Mapping[str, Sequence[tuple[int, float]]], queue_size: int, path: Path) -> Path:
    """Every loss over the steps: a panel for each term with a line for each stage, and the weighted total."""
    terms = {"g2g": "global to global", "l2l": "local to local", "l2g": "local to global"}
    with drawing():
        below = (
            "InfoNCE by term and stage. g2g and l2l may rise while the queues fill with real keys, and only then fall."
        )
        figure = sheet(13, 4.3, "How the losses went", below)
        width = (13 - 2 * MARGIN) / 4
        panels, ends = [], []
        for column, (term, name) in enumerate(terms.items()):
            axes = _panel(figure, MARGIN + column * width, width, f"{term}  {name}")
            panels.append(axes)
            series = {stage: metrics.get(f"loss/{term}/{stage}", ()) for stage in STAGE_COLORS}
            ends.append(
                {stage: _curve(axes, points, STAGE_COLORS[stage]) for stage, points in series.items() if points}
            )
        _name_lines(panels, ends, chance=math.log(queue_size + 1))
        axes = _panel(figure, MARGIN + 3 * width, width, "total  weighted sum")
        _curve(axes, metrics.get("loss", ()), INK)
        return save(figure, path)


def draw_contact_sheet(photos: Sequence[Path], path: Path, origin: str) -> Path:
    """All photos, or an even choice of them, as square thumbnails."""
    most, columns, side = 64, 16, 110
    chosen = photos[:: max(1, math.ceil(len(photos) / most))]
    rows = math.ceil(len(chosen) / columns)
    mosaic = Image.new("RGB", (columns * (side + 4) - 4, rows * (side + 4) - 4), "white")
    for index, photo in enumerate(chosen):
        with Image.open(photo) as image:
            square = ImageOps.fit(upright(image), (side, side), Image.Resampling.LANCZOS)
        mosaic.paste(square, (index % columns * (side + 4), index // columns * (side + 4)))
    width = 13.0
    height = (width - 2 * MARGIN) * mosaic.height / mosaic.width
    with drawing():
        figure = sheet(width, height + HEAD + MARGIN, "The photos", origin)
        box = _box(figure, MARGIN, HEAD, width - 2 * MARGIN, height)
        bare(figure.add_axes(box)).imshow(mosaic, aspect="auto", interpolation="lanczos")
        return save(figure, path)


def upright(image: Image.Image) -> Image.Image:
    """A photo as people see it."""
    return ImageOps.exif_transpose(image).convert("RGB")


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
    return _box(figure, left, HEAD + LABEL + row * (height + GAP), width, height)


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


def _panel(figure: Figure, left: float, width: float, title: str) -> Any:
    axes = figure.add_axes(_box(figure, left + 0.25, HEAD + 0.3, width - 0.75, 4.3 - HEAD - 0.3 - 0.7))
    axes.set_title(title)
    axes.set_xlabel("step")
    return axes


def _name_lines(panels: Sequence[Any], ends: Sequence[Mapping[str, float]], chance: float) -> None:
    """Give the panels one scale, and each of their lines its name."""
    limits = [axes.get_ylim() for axes in panels]
    low, high = min(low for low, _ in limits), max(*(high for _, high in limits), chance * 1.03)
    for axes, own in zip(panels, ends, strict=True):
        axes.set_ylim(low, high)
        axes.axhline(chance, color=ACCENT, lw=1, ls=(0, (4, 3)))
        _beside(axes, "chance", chance, ACCENT, "normal")
        _end_labels(axes, own, chance)


def _curve(axes: Any, points: Sequence[tuple[int, float]], color: str) -> float:
    """Draw the values faintly and their running mean on top; returns where the mean ends."""
    if not points:
        return 0.0
    steps, values = np.array(points, dtype=float).T
    axes.plot(steps, values, color=color, lw=0.7, alpha=0.25)
    window = max(1, len(values) // 20)
    total = np.cumsum(np.concatenate([[0.0], values]))
    index = np.arange(1, len(values) + 1)
    start = np.maximum(index - window, 0)
    mean = (total[index] - total[start]) / (index - start)
    axes.plot(steps, mean, color=color, lw=1.8, solid_capstyle="round")
    return float(mean[-1])


def _end_labels(axes: Any, ends: Mapping[str, float], chance: float) -> None:
    """Name each line at its end, pushed apart where they would lie over each other."""
    low, high = axes.get_ylim()
    step = (high - low) * 0.065
    placed = [chance]
    for stage, value in sorted(ends.items(), key=lambda item: item[1]):
        at = value
        while any(abs(at - other) < step for other in placed):
            at += step / 4
        placed.append(at)
        _beside(axes, stage, at, STAGE_COLORS[stage], "bold")


def _beside(axes: Any, words: str, value: float, color: str, weight: str) -> None:
    """Words at the right of the axes, at the height of a value."""
    axes.annotate(
        words,
        (1, value),
        xycoords=("axes fraction", "data"),
        xytext=(4, 0),
        textcoords="offset points",
        color=color,
        fontsize=8.5,
        fontweight=weight,
        va="center",
    )


def _box(figure: Figure, left: float, top: float, width: float, height: float) -> tuple[float, float, float, float]:
    """Inches from the top left corner as matplotlib's shares from the bottom left one."""
    total_width, total_height = figure.get_size_inches()
    return left / total_width, 1 - (top + height) / total_height, width / total_width, height / total_height
