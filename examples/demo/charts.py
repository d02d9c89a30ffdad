"""The demo's chart: how each loss went, by term and stage."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from examples.demo.style import ACCENT, HEAD, INK, MARGIN, STAGE_COLORS, drawing, place, save, sheet

TERMS = {"g2g": "global to global", "l2l": "local to local", "l2g": "local to global"}
WIDTH, HEIGHT = 13.0, 4.3
"""Inches."""
Course = Sequence[tuple[int, float]]
"""Steps and values."""


def draw_losses(metrics: Mapping[str, Course], queue_size: int, path: Path) -> Path:
    """Every loss over the steps: a panel for each term with a line for each stage, and the weighted total."""
    with drawing():
        below = (
            "InfoNCE by term and stage. g2g and l2l may rise while the queues fill with real keys, and only then fall."
        )
        figure = sheet(WIDTH, HEIGHT, "How the losses went", below)
        width = (WIDTH - 2 * MARGIN) / 4
        panels, ends = [], []
        for column, (term, name) in enumerate(TERMS.items()):
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


def _panel(figure: Figure, left: float, width: float, title: str) -> Any:
    axes = figure.add_axes(place(figure, left + 0.25, HEAD + 0.3, width - 0.75, HEIGHT - HEAD - 0.3 - 0.7))
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


def _curve(axes: Any, points: Course, color: str) -> float:
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
