from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from examples.demo import style
from examples.demo.charts import draw_losses


def test_losses_are_drawn_also_when_some_are_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(style, "DPI", 50)
    course = [(step, 5.0 - step / 10) for step in range(1, 30)]
    some = {"loss": course, "loss/g2g/res5": course, "loss/g2g/res4": course[:1]}
    with Image.open(draw_losses(some, 48, tmp_path / "losses.png")) as image:
        pixels = np.asarray(image.convert("RGB"))
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 20
