"""The demo's contact sheet: which photos there were."""

import math
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageOps

from examples.demo.photos import upright
from examples.demo.style import HEAD, MARGIN, bare, drawing, place, save, sheet


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
        box = place(figure, MARGIN, HEAD, width - 2 * MARGIN, height)
        bare(figure.add_axes(box)).imshow(mosaic, aspect="auto", interpolation="lanczos")
        return save(figure, path)
