"""A folder laid out as `stamps` is, of made-up pictures."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from detco_core.data.synthetic import write_labelled, write_photos


@pytest.fixture(autouse=True)
def _deterministic_switch_as_found() -> Iterator[None]:
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture(scope="session")
def stamps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """6 photos and 2 scenes to pretrain on, 3 classes of 4 images a split to classify; and scenes not to look at."""
    root = tmp_path_factory.mktemp("stamps")
    write_photos(root / "photos", 6, (64, 48))
    write_photos(root / "detect" / "images" / "train", 2, (64, 64))
    write_photos(root / "detect" / "images" / "val", 2, (64, 64))
    write_photos(root / "detect" / "semantic" / "train", 1, (64, 64))
    write_labelled(root / "classify", 3, 4, (48, 48))
    return root
