"""Loading once however many ask, and leaving alone for a while what failed."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from detco_core.inference.sessions.execution import Execution
from server.features.errors import ModelUnavailable
from server.features.models.catalog import FolderCatalog, VersionRef
from server.features.models.loaded import Loaded
from server.features.models.loader import Loader


class Source:
    """Opens bundles when it is let, and counts."""

    def __init__(self, catalog: FolderCatalog) -> None:
        self.catalog = catalog
        self.go_on = threading.Event()
        self.opened: list[VersionRef] = []
        self.arrived: list[Loaded] = []

    def open(self, version: VersionRef) -> Loaded:
        assert self.go_on.wait(30)
        self.opened.append(version)
        execution = Execution(providers=("CPUExecutionProvider",), threads=1)
        return Loaded.open(version, self.catalog.bundles[version], execution, ahead=1)

    def take_in(self, loaded: Loaded) -> Loaded:
        self.arrived.append(loaded)
        return loaded


@pytest.fixture
def source(catalog: FolderCatalog) -> Iterator[Source]:
    source = Source(catalog)
    yield source
    for loaded in source.arrived:
        loaded.retire()


@pytest.fixture
def loader(source: Source) -> Iterator[Loader]:
    loader = Loader(source.open, source.take_in)
    yield loader
    source.go_on.set()
    loader.close()


def test_a_version_is_loaded_once_however_many_ask(loader: Loader, source: Source, catalog: FolderCatalog) -> None:
    versions = list(catalog.bundles)
    futures = [loader.load(version) for version in versions * 5]
    assert set(loader.under_way) == set(versions)
    source.go_on.set()
    assert [future.result(30).version for future in futures] == versions * 5
    assert sorted(source.opened, key=str) == versions
    assert loader.under_way == []


def test_what_failed_is_left_alone_for_a_while(
    loader: Loader, source: Source, tmp_path: Path, until: Callable[[Callable[[], bool]], None]
) -> None:
    source.go_on.set()
    missing = VersionRef("m1", "missing", 1, "sha256:0")
    source.catalog.bundles[missing] = tmp_path
    with pytest.raises(ModelUnavailable, match="not a bundle"):
        loader.load(missing).result(30)
    assert loader.backing_off(missing)
    with pytest.raises(ModelUnavailable, match="not a bundle"):
        loader.load(missing)
    assert len(source.opened) == 1
    # Who promotes it by hand does not wait.
    with pytest.raises(ModelUnavailable):
        loader.load(missing, again=True).result(30)
    failure = loader.failure(missing)
    assert failure is not None
    assert (failure.tries, len(source.opened)) == (2, 2)


def test_a_load_that_succeeds_forgets_its_failures(
    loader: Loader, source: Source, catalog: FolderCatalog, bundles: list[Path], tmp_path: Path
) -> None:
    source.go_on.set()
    version = next(iter(catalog.bundles))
    catalog.bundles[version] = tmp_path
    with pytest.raises(ModelUnavailable):
        loader.load(version).result(30)
    catalog.bundles[version] = bundles[0]
    assert loader.load(version, again=True).result(30).version == version
    assert loader.failure(version) is None
    assert not loader.backing_off(version)
