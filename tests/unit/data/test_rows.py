"""Data sets saved by Hugging Face `datasets`: rows in their order, splits, and what cannot be read."""

import json
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from detco_core.contract.datasets import DatasetRef
from detco_core.contract.errors import DataError
from detco_core.contract.jobs import CheckJob
from detco_core.data.disk import Disk
from detco_core.data.file_table import Member, tabulate
from detco_core.data.images import ImageFiles, open_image
from detco_core.data.rows import Rows, open_rows
from detco_core.data.scan import scan
from detco_core.data.synthetic import write_photos, write_rows

datasets = pytest.importorskip("datasets")
pytestmark = pytest.mark.slow
"""The library takes seconds to import."""

IMAGES = [b"first", b"second", b"third"]


def saved(folder: Path, **columns: list[Any]) -> Path:
    """A data set whose columns named `image*` hold images."""
    features = {name: datasets.Image() if name.startswith("image") else datasets.Value("int64") for name in columns}
    datasets.Dataset.from_dict(columns, datasets.Features(features)).save_to_disk(str(folder))
    return folder


def test_rows_in_order(tmp_path: Path) -> None:
    source = Rows(Disk(write_rows(tmp_path / "rows", IMAGES)))
    table = tabulate(source.listing().files)
    assert [table.path(n) for n in range(3)] == ["0000000000", "0000000001", "0000000002"]
    assert [table.member(n)[1:3] for n in range(3)] == [(".", 0), (".", 1), (".", 2)]
    assert [read(source, table.member(n)) for n in (2, 0, 1)] == [IMAGES[2], IMAGES[0], IMAGES[1]]
    assert [file.path for file in source.listing(["*1"]).files] == ["0000000000", "0000000002"]
    with pytest.raises(DataError, match="only 3 rows"):
        source.open(Member("9", ".", 9))


def read(source: Rows, member: Member) -> bytes:
    where = source.open(member)
    assert isinstance(where, BytesIO)
    return where.getvalue()


def test_a_scan_reads_them_and_a_run_follows_its_manifest(tmp_path: Path) -> None:
    images = [path.read_bytes() for path in write_photos(tmp_path / "photos", 3, (40, 30))]
    root = write_rows(tmp_path / "rows", [*images, b"broken"])
    report = scan(CheckJob(folder=str(tmp_path), root=str(root)))
    assert [(file.path, file.reason) for file in report.broken] == [
        ("0000000003", "not an image in a supported format")
    ]
    manifest = str(tmp_path / "manifest.jsonl")
    ref = DatasetRef(name="r@1", kind="images", root=str(root), manifest=manifest, digest=report.digest)
    files = ImageFiles.open(ref)
    assert [(file.path, file.container, file.position, file.bytes) for file in files] == [
        (f"{n:010d}", ".", n, len(image)) for n, image in enumerate(images)
    ]
    assert open_image(files.bytes(2)).size == (40, 30)


def test_splits_are_folders_and_a_selection_keeps_its_order(tmp_path: Path) -> None:
    rows = datasets.load_from_disk(str(write_rows(tmp_path / "rows", IMAGES)))
    both = datasets.DatasetDict({"train": rows.select([2, 0]), "test": rows.select([1])})
    both.save_to_disk(str(tmp_path / "both"))
    source = Rows(Disk(tmp_path / "both"))
    table = tabulate(source.listing().files)
    found = [(table.path(n), read(source, table.member(n))) for n in range(len(table))]
    assert found == [("test/0000000000", b"second"), ("train/0000000000", b"third"), ("train/0000000001", b"first")]


def test_the_column_is_found_by_its_type(tmp_path: Path) -> None:
    one = [{"bytes": b"1", "path": None}]
    assert open_rows(str(saved(tmp_path / "a", image_of_it=one, label=[3]))).column == "image_of_it"
    assert open_rows(str(saved(tmp_path / "b", image=one, image_mask=one))).column == "image"
    with pytest.raises(DataError, match=r"2 columns of images \(image_a, image_b\): keep one"):
        open_rows(str(saved(tmp_path / "c", image_a=one, image_b=one)))
    with pytest.raises(DataError, match="no column of type Image"):
        open_rows(str(saved(tmp_path / "d", label=[1])))


def test_what_cannot_be_read_says_why(tmp_path: Path) -> None:
    source = Rows(Disk(saved(tmp_path / "a", image=[None, {"bytes": b"1", "path": None}])))
    with pytest.raises(DataError, match="holds no image"):
        source.open(Member("0", ".", 0))
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "state.json").write_text("{}")
    with pytest.raises(DataError, match="cannot be opened"):
        list(Rows(Disk(tmp_path / "b")).listing().files)
    (tmp_path / "b" / "dataset_dict.json").write_text(json.dumps({"splits": ["../a"]}))
    with pytest.raises(DataError, match="outside the data set"):
        list(Rows(Disk(tmp_path / "b")).listing().files)
