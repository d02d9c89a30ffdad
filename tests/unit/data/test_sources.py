"""The seam: its fake keeps the promises that the real sources keep."""

import pickle
import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest

from detco_core.contract.errors import DataError
from detco_core.data.arrays import read_tiff
from detco_core.data.catalog import find_source
from detco_core.data.disk import Disk
from detco_core.data.file_table import Member, tabulate
from detco_core.data.rows import open_rows
from detco_core.data.shards import Shards
from detco_core.data.sources import InMemory, Source, as_text, excluded
from detco_core.data.synthetic import write_photos, write_rows, write_shards


def test_the_fake_lists_sorted_and_opens_what_it_lists() -> None:
    source = InMemory({"b.png": b"2", "a/c.png": b"1", "d.png": b"3"})
    listing = source.listing(["d.*"])
    table = tabulate(listing.files)
    assert [table.path(n) for n in range(len(table))] == ["a/c.png", "b.png"]
    where = source.open(table.member(1))
    assert isinstance(where, BytesIO)
    assert where.getvalue() == b"2"
    with pytest.raises(DataError, match="No such file"):
        source.open(Member("gone.png"))


def test_patterns_match_slashes_and_case() -> None:
    assert excluded("a/b/c.jpg", ["x", "a/*"])
    assert not excluded("A/b.jpg", ["a/*"])
    assert as_text("caf\udce9") == "caf\\udce9"


@pytest.mark.parametrize(
    ("package", "extra", "read_it"),
    [
        ("webdataset.tariterators", "core", lambda folder: list(Shards(Disk(folder)).listing().files)),
        ("datasets", "hf", lambda folder: open_rows(str(folder))),
        ("tifffile", "multichannel", lambda folder: read_tiff(BytesIO(b"II*\0"))),
    ],
)
def test_a_missing_library_is_named_with_its_extra(
    package: str, extra: str, read_it: Callable[[Path], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.tar").touch()
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(DataError, match=rf"needs the package {package.split('.')[0]}: pip install 'detco\[{extra}\]'"):
        read_it(tmp_path)


@pytest.mark.parametrize("kind", ["folder", "list", "shards", "memory", pytest.param("rows", marks=pytest.mark.slow)])
def test_every_source_opens_the_same_bytes_in_any_order_also_in_another_process(kind: str, tmp_path: Path) -> None:
    images = [path.read_bytes() for path in write_photos(tmp_path / "photos", 5, (24, 18))]
    source = make_source(kind, tmp_path, images)
    table = tabulate(source.listing().files)
    again: Source = pickle.loads(pickle.dumps(source))  # noqa: S301  # our own bytes: it travels to loader processes so
    for index in (3, 0, 4, 1, 2, 2):
        assert read(again, table.member(index)) == images[index]


def make_source(kind: str, folder: Path, images: list[bytes]) -> Source:
    if kind == "memory":
        return InMemory({f"{n}.jpg": image for n, image in enumerate(images)})
    root = folder / "photos"
    if kind == "list":
        root = folder / "list.txt"
        root.write_text("\n".join(f"photos/photo-{n:04d}.jpg" for n in range(len(images))))
    elif kind == "shards":
        root = write_shards(folder / "shards", images, 2)
    elif kind == "rows":
        pytest.importorskip("datasets")
        root = write_rows(folder / "rows", images)
    return find_source("images", Disk(root))[1]


def read(source: Source, member: Member) -> bytes:
    where = source.open(member)
    return where.getvalue() if isinstance(where, BytesIO) else Path(where).read_bytes()
