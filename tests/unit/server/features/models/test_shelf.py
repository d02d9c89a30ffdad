"""Bundles and index on disk: whole or not at all, and back after a restart."""

import errno
import json
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from detco_core.contract.errors import BundleError
from server.features.models.catalog import FolderCatalog, VersionRef
from server.features.models.in_use import Use
from server.features.models.shelf import Index, Shelf
from tests.full_disk import small_disk


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "serving")


@pytest.fixture
def version(catalog: FolderCatalog) -> VersionRef:
    return catalog.aliases["tiny@production"]


def brought(shelf: Shelf, version: VersionRef, catalog: FolderCatalog) -> Path:
    """The folder of a version's bundle, which nobody uses."""
    use = shelf.bring(version, catalog.fetch)
    use.end()
    return use.folder


def test_a_bundle_is_fetched_once(shelf: Shelf, catalog: FolderCatalog, version: VersionRef) -> None:
    folder = brought(shelf, version, catalog)
    assert sorted(path.name for path in folder.iterdir()) == ["manifest.json", "model.onnx"]
    catalog.down = True
    assert brought(shelf, version, catalog) == folder


def test_bundles_are_listed_and_discarded(shelf: Shelf, catalog: FolderCatalog, version: VersionRef) -> None:
    assert shelf.ids() == []
    brought(shelf, version, catalog)
    (shelf.root / "bundles" / ".being-fetched").mkdir()
    assert shelf.ids() == [version.id]
    assert shelf.discard({version.id, "never-here"}) == set()
    assert shelf.ids() == []


def test_a_bundle_in_use_stays(shelf: Shelf, catalog: FolderCatalog, version: VersionRef) -> None:
    uses = [shelf.bring(version, catalog.fetch), Shelf(shelf.root).bring(version, catalog.fetch)]
    for use in uses:
        assert shelf.discard({version.id}) == {version.id}
        shelf.prune(())
        assert shelf.ids() == [version.id]
        use.end()
    assert shelf.discard({version.id}) == set()


def test_a_fetch_that_fails_leaves_nothing(shelf: Shelf, version: VersionRef) -> None:
    def fail(_: VersionRef, folder: Path) -> None:
        (folder / "manifest.json").write_text("half")
        raise ConnectionError("gone")

    with pytest.raises(ConnectionError):
        shelf.bring(version, fail)
    assert list((shelf.root / "bundles").iterdir()) == []


@pytest.mark.mounts
def test_a_disk_that_is_full_is_named_and_left_tidy(
    tmp_path: Path, version: VersionRef, catalog: FolderCatalog
) -> None:
    with small_disk(tmp_path / "disk", kilobytes=64) as disk:
        shelf = Shelf(disk.folder / "serving")
        (shelf.root / "bundles").mkdir(parents=True)
        disk.fill()
        with pytest.raises(OSError, match=r"No space left on device: '.*/serving/bundles"):
            shelf.bring(version, catalog.fetch)
        assert list((shelf.root / "bundles").iterdir()) == []
        disk.make_room()
        assert (brought(shelf, version, catalog) / "model.onnx").is_file()


def test_a_disk_that_runs_full_in_a_write_is_named_too(shelf: Shelf, version: VersionRef) -> None:
    def fill(_: VersionRef, folder: Path) -> None:
        (folder / "manifest.json").write_text("half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # as `write` does, which knows no path

    with pytest.raises(OSError, match=r"No space left on device: '.*/serving/bundles'"):
        shelf.bring(version, fill)
    assert list((shelf.root / "bundles").iterdir()) == []


def test_a_folder_that_cannot_be_made_is_named(shelf: Shelf, version: VersionRef, catalog: FolderCatalog) -> None:
    shelf.root.touch()
    with pytest.raises(OSError, match=r"serving/bundles'"):
        shelf.bring(version, catalog.fetch)


def test_a_bundle_is_replaced_only_by_a_whole_one(shelf: Shelf, catalog: FolderCatalog, version: VersionRef) -> None:
    folder = brought(shelf, version, catalog)
    good = (folder / "model.onnx").read_bytes()
    (folder / "model.onnx").write_bytes(b"damaged")
    (folder / "engines").mkdir()
    catalog.down = True
    with pytest.raises(ConnectionError):
        shelf.bring(version, catalog.fetch, anew=True)
    assert (folder / "model.onnx").read_bytes() == b"damaged"
    catalog.down = False
    user = shelf.bring(version, catalog.fetch)
    shelf.bring(version, catalog.fetch, anew=True).end()
    assert (folder / "model.onnx").read_bytes() == good
    assert sorted(path.name for path in folder.iterdir()) == ["manifest.json", "model.onnx"]
    assert shelf.discard({version.id}) == {version.id}, "somebody uses it still"
    user.end()
    assert shelf.discard({version.id}) == set()


def test_a_bundle_without_its_manifest_is_fetched_again(
    shelf: Shelf, catalog: FolderCatalog, version: VersionRef
) -> None:
    (brought(shelf, version, catalog) / "manifest.json").unlink()
    assert (brought(shelf, version, catalog) / "manifest.json").is_file()
    with pytest.raises(BundleError, match=r"without manifest\.json"):
        shelf.bring(replace(version, id="another"), lambda _, folder: (folder / "model.onnx").touch())


def test_another_process_may_be_faster(shelf: Shelf, catalog: FolderCatalog, version: VersionRef) -> None:
    def overtaken(asked: VersionRef, folder: Path) -> None:
        uses.append(Shelf(shelf.root).bring(asked, catalog.fetch))
        catalog.fetch(asked, folder)

    uses: list[Use] = []
    uses.append(shelf.bring(version, overtaken))
    assert uses[0].folder == uses[1].folder
    assert [path.name for path in uses[0].folder.parent.iterdir()] == [uses[0].folder.name]
    for use in uses:
        assert shelf.discard({version.id}) == {version.id}
        use.end()


def test_the_index_comes_back(shelf: Shelf, version: VersionRef) -> None:
    assert shelf.read_index() == Index()
    index = Index({"tiny@production": version}, (version,))
    shelf.write_index(index)
    assert Shelf(shelf.root).read_index() == index
    assert [path.name for path in shelf.root.iterdir()] == ["index.json"]


def test_an_index_that_cannot_be_written_leaves_nothing(shelf: Shelf) -> None:
    (shelf.root / "index.json" / "in the way").mkdir(parents=True)
    with pytest.raises(OSError, match=r"index\.json"):
        shelf.write_index(Index())
    assert [path.name for path in shelf.root.iterdir()] == ["index.json"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"aliases": 5}', '{"format": 1, "unknown": 2}'])
def test_an_index_that_cannot_be_read_is_none(shelf: Shelf, text: str, caplog: pytest.LogCaptureFixture) -> None:
    shelf.root.mkdir()
    (shelf.root / "index.json").write_text(text)
    assert shelf.read_index() == Index()
    assert "cannot be read" in caplog.text


def test_pruning_keeps_what_is_named(shelf: Shelf, catalog: FolderCatalog) -> None:
    versions = list(catalog.bundles)
    for version in versions:
        brought(shelf, version, catalog)
    for name, age in ((".fetching", 0), (".cut-off", 10_000)):
        (shelf.root / "bundles" / name).mkdir()
        os.utime(shelf.root / "bundles" / name, (time.time() - age,) * 2)
    shelf.prune({versions[1]})
    assert {path.name for path in (shelf.root / "bundles").iterdir()} == {versions[1].id, ".fetching"}
    assert json.loads((shelf.root / "bundles" / versions[1].id / "manifest.json").read_text())["architecture"] == "tiny"
