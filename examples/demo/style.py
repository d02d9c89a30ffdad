"""How the demo's pictures look: one face, few colors, much air."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

INK, QUIET, FAINT = "#1d2733", "#6b7785", "#d9dee4"
STAGE_COLORS = {"res2": "#9ec5a8", "res3": "#4fa3a5", "res4": "#2f6d9a", "res5": "#3b2a6f"}
"""From light to dark as the stages go deeper; apart in lightness too, so that they survive a gray print."""
ACCENT = "#e4572e"
HEAT = "magma"
DPI = 144
MARGIN = 0.45
"""Inches around a picture."""
HEAD = 1.05
"""Inches above what is drawn, for the headline."""


@contextmanager
def drawing() -> Iterator[None]:
    """The settings under which every picture is drawn."""
    settings: Any = {
        "font.family": "DejaVu Sans",
        "font.size": 9.5,
        "text.color": INK,
        "axes.labelcolor": QUIET,
        "axes.edgecolor": FAINT,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlesize": 10.5,
        "axes.titlelocation": "left",
        "axes.titlecolor": INK,
        "axes.titlepad": 8,
        "axes.grid": True,
        "grid.color": "#eef1f4",
        "xtick.color": QUIET,
        "ytick.color": QUIET,
        "xtick.major.size": 0,
        "ytick.major.size": 0,
        "figure.facecolor": "white",
    }
    with mpl.rc_context(settings):
        yield


def sheet(width: float, height: float, title: str, below: str) -> Figure:
    """An empty picture of that many inches with a headline and a quieter line under it."""
    figure = Figure(figsize=(width, height), dpi=DPI)
    left = MARGIN / width
    figure.text(left, 1 - 0.42 / height, title, fontsize=15, fontweight="bold", va="center")
    figure.text(left, 1 - 0.74 / height, below, fontsize=9.5, color=QUIET, va="center")
    return figure


def bare(axes: Any) -> Any:
    """Axes that only hold a picture."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return axes


def save(figure: Figure, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    return path


def place(figure: Figure, left: float, top: float, width: float, height: float) -> tuple[float, float, float, float]:
    """Inches from the top left corner as matplotlib's shares from the bottom left one."""
    total_width, total_height = figure.get_size_inches()
    return left / total_width, 1 - (top + height) / total_height, width / total_width, height / total_height
