"""What the tests of this package share: a real bundle of a few kilobytes, and photos."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from detco_core.inference.tiny import write_tiny_bundle


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundles") / "tiny"
    write_tiny_bundle(folder)
    return folder


@pytest.fixture(scope="session")
def photo() -> Callable[..., Image.Image]:
    """Makes an RGB picture with structure at every scale; the same for the same arguments."""

    def make(width: int = 97, height: int = 61, seed: int = 0) -> Image.Image:
        random = np.random.default_rng(seed)
        coarse = Image.fromarray(random.integers(0, 256, (6, 8, 3), np.uint8)).resize((width, height))
        noise = random.integers(-20, 21, (height, width, 3))
        return Image.fromarray(np.clip(np.asarray(coarse).astype(int) + noise, 0, 255).astype(np.uint8))

    return make


@pytest.fixture(scope="session")
def encoded() -> Callable[..., bytes]:
    """A picture as the bytes of a file."""

    def save(picture: Image.Image, format: str = "PNG", **options: Any) -> bytes:
        file = io.BytesIO()
        picture.save(file, format, **options)
        return file.getvalue()

    return save
