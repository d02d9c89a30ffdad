"""Services and photos for the tests that run the whole house."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.service import Service


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty textured pictures of several sizes."""
    from detco_core.data.synthetic import write_photos

    folder = tmp_path_factory.mktemp("data") / "photos"
    write_photos(folder, 40)
    return folder


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One service for the tests of a module that leave it as they found it."""
    folder = tmp_path_factory.mktemp("service") / "data"
    started = Service(folder, dataset_roots=str(tmp_path_factory.getbasetemp()))
    try:
        yield started.start()
        started.stop()
    finally:
        started.close()
