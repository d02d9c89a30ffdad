"""Files that changed since the scan are noticed: those of a sample before the run, each by its size when it is read."""

import os
from pathlib import Path

import pytest

from detco_core.contract.datasets import DatasetRef
from detco_core.contract.errors import DataError
from detco_core.contract.jobs import CheckJob
from detco_core.data import freshness
from detco_core.data.freshness import changed_files
from detco_core.data.images import ImageFiles
from detco_core.data.scan import MANIFEST, scan
from detco_core.data.synthetic import write_photos


@pytest.fixture
def scanned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DatasetRef:
    """Five photos, scanned as soon as they were there, on a disk with exact times."""
    monkeypatch.setattr(freshness, "COARSE_SECONDS", 0)
    root = tmp_path / "root"
    paths = write_photos(root, 5, (16, 16))
    scanned_at = max(path.stat().st_ctime for path in paths)
    (tmp_path / "job").mkdir()
    report = scan(CheckJob(folder=str(tmp_path / "job"), root=str(root)))
    manifest = str(tmp_path / "job" / MANIFEST)
    return DatasetRef(
        name="p@1", kind="images", root=str(root), manifest=manifest, digest=report.digest, scanned_at=scanned_at
    )


def replace_with(path: Path, content: bytes, ref: DatasetRef) -> None:
    """As `rsync -a` does, with a time of writing of long ago; after the scan, as the disk's clock has it."""
    other = path.with_name(".other")
    while not other.exists() or other.stat().st_ctime <= (ref.scanned_at or 0):
        other.write_bytes(content)
        os.utime(other, (0, 0))
    other.replace(path)


def test_nothing_changed_is_no_warning(scanned: DatasetRef) -> None:
    assert changed_files(ImageFiles.open(scanned), scanned) is None


def test_what_was_written_to_replaced_or_removed_is_named(scanned: DatasetRef) -> None:
    root = Path(scanned.root)
    paths = sorted(root.iterdir())
    replace_with(paths[0], paths[0].read_bytes(), scanned)
    paths[1].write_bytes(paths[1].read_bytes() + b"\0")
    paths[2].unlink()
    files = ImageFiles.open(scanned)
    warning = changed_files(files, scanned)
    assert warning is not None
    assert (warning.code, warning.details["count"]) == ("dataset_changed", 3)
    assert warning.details["files"] == [path.name for path in paths[:3]]
    assert "p@1 was scanned" in warning.message
    with pytest.raises(DataError, match="when it was scanned"):
        files.bytes(1)


def test_a_root_that_was_listed_is_as_it_is(scanned: DatasetRef) -> None:
    listed = DatasetRef(name="p", kind="images", root=scanned.root)
    os.utime(next(Path(listed.root).iterdir()))
    assert changed_files(ImageFiles.open(listed), listed) is None
