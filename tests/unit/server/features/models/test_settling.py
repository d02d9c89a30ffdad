"""After a load: what is not needed is let go, in memory at once, on disk when nobody can need a part of it any more.

That memory is let go at once is CPython's counting of references, as it is for the server.
"""

import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from detco_core.inference.sessions.execution import Execution
from server.features.models.bounds import Bounds
from server.features.models.catalog import FolderCatalog, VersionRef, Wanted
from server.features.models.holdings import Holdings
from server.features.models.loaded import Loaded
from server.features.models.settling import Settler
from server.features.models.shelf import Shelf

EXECUTION = Execution(providers=("CPUExecutionProvider",), threads=1)
Load = Callable[[VersionRef], None]


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "serving")


@pytest.fixture
def holdings() -> Holdings:
    return Holdings(Bounds(models=1))


@pytest.fixture
def load(shelf: Shelf, holdings: Holdings, catalog: FolderCatalog) -> Iterator[Load]:
    """Has a version loaded; all are let go in the end."""

    def take_in(version: VersionRef) -> None:
        bundle = shelf.bring(version, catalog.fetch)
        holdings.take_in(Loaded.open(version, bundle.folder, EXECUTION, 1, done=bundle.end))

    yield take_in
    for loaded in holdings.clear():
        loaded.retire()


def test_a_model_in_use_keeps_its_bundle_and_is_gone_with_its_last_user(
    shelf: Shelf, holdings: Holdings, catalog: FolderCatalog, load: Load
) -> None:
    first, *_ = catalog.bundles
    settler = Settler(holdings, shelf, list)
    holdings.want(Wanted({"tiny@production": first}))
    load(first)
    settler.settle()
    model = holdings.loaded(first)
    assert model is not None
    assert model.hold()
    holdings.withhold("tiny", withheld=True)
    holdings.want(Wanted({}))
    settler.settle()
    assert holdings.all() == []
    # Another part of the network may be opened yet, though the index names it no more.
    assert shelf.read_index().aliases == {}
    assert shelf.ids() == [first.id]
    model.let_go()
    left = weakref.ref(model)
    del model
    assert left() is None
    settler.settle()
    assert shelf.ids() == []


def test_an_index_that_cannot_be_written_is_tried_again(
    shelf: Shelf, holdings: Holdings, catalog: FolderCatalog, load: Load, caplog: pytest.LogCaptureFixture
) -> None:
    first, *_ = catalog.bundles
    settler = Settler(holdings, shelf, list)
    (shelf.root / "index.json" / "in the way").mkdir(parents=True)
    holdings.want(Wanted({"tiny@production": first}))
    load(first)
    for _ in range(3):
        settler.settle()
        assert settler.is_behind
    assert caplog.text.count("cannot be written") == 1
    (shelf.root / "index.json" / "in the way").rmdir()
    (shelf.root / "index.json").rmdir()
    settler.settle()
    assert not settler.is_behind
    assert Settler(holdings, shelf, list).restore() == Wanted({"tiny@production": first})
