"""Small folders of made-up photos, written once, and a bucket to put some in."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from detco_core.data import objects
from detco_core.data.synthetic import write_labelled, write_photos


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty-three small photos; read only."""
    folder = tmp_path_factory.mktemp("photos")
    write_photos(folder, 23, (64, 48))
    return folder


@pytest.fixture(scope="session")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes, four images each in train and in val; read only."""
    folder = tmp_path_factory.mktemp("labelled")
    write_labelled(folder, 3, 4, (48, 48))
    return folder


@pytest.fixture
def objects_bucket(s3_bucket: Any) -> Iterator[Any]:
    """A new bucket that this process's client reads."""
    objects.client.cache_clear()
    yield s3_bucket
    objects.client.cache_clear()
