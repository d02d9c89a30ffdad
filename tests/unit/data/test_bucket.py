"""Lists, shards and saved rows in S3: what is read of them is what is read of the same files on a disk."""

import pickle
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from detco_core.contract.datasets import DatasetRef, ObjectCache, ScanReport
from detco_core.contract.errors import DataError
from detco_core.contract.jobs import CheckJob
from detco_core.data.bucket import Bucket
from detco_core.data.disk import Disk
from detco_core.data.file_table import tabulate
from detco_core.data.folder import FileList
from detco_core.data.images import ImageFiles
from detco_core.data.scan import MANIFEST, scan
from detco_core.data.sources import Bytes
from detco_core.data.synthetic import write_photos, write_rows, write_shards

ROWS = pytest.param("rows", marks=pytest.mark.slow)
"""The library takes seconds to import."""


def lay_out(layout: str, folder: Path) -> str:
    """Three photos and what is broken, laid out so; returns the root, relative to the folder."""
    images = [path.read_bytes() for path in write_photos(folder / "photos", 3, (24, 18))]
    if layout == "list":
        lines = ["photos/photo-0001.jpg", "", "../data/photos/photo-0000.jpg", "text.jpg", "gone.jpg", "text.jpg"]
        (folder / "text.jpg").write_bytes(b"no photo")
        (folder / "list.txt").write_text("\n".join(lines))
        return "list.txt"
    if layout == "rows":
        pytest.importorskip("datasets")
        write_rows(folder / "rows", [*images, b"no photo"])
        return "rows"
    write_shards(folder / "shards", [*images, b"no photo"], 2)
    (folder / "shards" / "text.tar").write_bytes(b"no tar")
    return "shards" if layout == "shards" else "shards/shard-0001.tar"


def send(bucket: Any, folder: Path) -> str:
    """Put a folder into the bucket; returns where it lies there."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            bucket.put_object(Key=f"data/{path.relative_to(folder).as_posix()}", Body=path.read_bytes())
    return f"s3://{bucket.name}/data"


def cache_in(folder: Path, most: int = 10**7) -> ObjectCache:
    return ObjectCache(folder=str(folder), max_bytes=most)


def scanned(root: str, folder: Path, **more: Any) -> tuple[ScanReport, DatasetRef]:
    folder.mkdir()
    report = scan(CheckJob(folder=str(folder), root=root, **more))
    manifest = str(folder / MANIFEST)
    ref = DatasetRef(name="p@1", kind="images", root=root, manifest=manifest, digest=report.digest, **more)
    return report, ref


def content(where: Bytes) -> bytes:
    return where.getvalue() if isinstance(where, BytesIO) else Path(where).read_bytes()


@pytest.mark.parametrize("layout", ["list", "shards", "shard", ROWS])
def test_each_layout_is_read_as_on_a_disk(layout: str, objects_bucket: Any, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    root = lay_out(layout, folder)
    remote = f"{send(objects_bucket, folder)}/{root}"
    here, here_ref = scanned(str(folder / root), tmp_path / "here")
    there, there_ref = scanned(remote, tmp_path / "there", cache=cache_in(tmp_path / "cache"))
    assert (there.images, there.bytes, there.width) == (here.images, here.bytes, here.width)
    assert [file.path for file in there.broken] == [file.path for file in here.broken]
    objects_bucket.objects.all().delete()  # the scan has filled the cache
    ours, theirs = ImageFiles.open(here_ref), ImageFiles.open(there_ref)
    again: ImageFiles = pickle.loads(pickle.dumps(theirs))  # noqa: S301  # it travels to loader processes so
    for index in reversed(range(len(ours))):
        assert (again[index].path, content(again.bytes(index))) == (ours[index].path, content(ours.bytes(index)))


@pytest.mark.parametrize("layout", ["list", "shards", ROWS])
def test_what_was_written_to_or_is_gone_is_not_read(layout: str, objects_bucket: Any, tmp_path: Path) -> None:
    root = lay_out(layout, tmp_path / "data")
    place = send(objects_bucket, tmp_path / "data")
    _, ref = scanned(f"{place}/{root}", tmp_path / "job", cache=cache_in(tmp_path / "cache"))
    changed = {"list": "photos/photo-0000.jpg", "shards": "shards/shard-0000.tar", "rows": "rows/state.json"}[layout]
    objects_bucket.put_object(Key=f"data/{changed}", Body=b"something else")
    elsewhere = ImageFiles.open(DatasetRef(**{**_fields(ref), "cache": cache_in(tmp_path / "other host")}))
    with pytest.raises(DataError, match="written to since it was scanned"):
        elsewhere.bytes(0)
    objects_bucket.objects.all().delete()
    with pytest.raises(DataError, match=r"cannot be had from S3|holds no saved rows"):
        elsewhere.bytes(0)
    assert content(ImageFiles.open(ref).bytes(0)), "a host that has it reads what was scanned"


def _fields(ref: DatasetRef) -> dict[str, Any]:
    return {name: getattr(ref, name) for name in ("name", "kind", "root", "manifest", "digest")}


def test_lines_may_lead_below_the_list_and_into_the_roots(objects_bucket: Any, tmp_path: Path) -> None:
    there = f"s3://{objects_bucket.name}"
    good = ["a.jpg", "./deep/../deep/b.jpg", f"{there}/data/c.jpg", f"{there}/more/d.jpg", "../more/e"]
    bad = [
        "/a.jpg",
        "a//b.jpg",
        "../secret/a.jpg",
        "../../a.jpg",
        f"{there}/data/../x.jpg",
        "s3://",
        "none.jpg",
        "a.jpg",
    ]
    for key in ("data/a.jpg", "data/deep/b.jpg", "data/c.jpg", "more/d.jpg", "more/e", "secret/a.jpg"):
        objects_bucket.put_object(Key=key, Body=key.encode())
    objects_bucket.put_object(Key="data/list.txt", Body="\r\n".join([*good, *bad]).encode())
    source = FileList(Bucket(f"{there}/data/list.txt"), (f"{there}/more",))
    listing = source.listing(["c.*"])
    table = tabulate(listing.files)
    found = [(table.path(n), content(source.open(table.member(n)))) for n in range(len(table))]
    assert found == [
        ("a.jpg", b"data/a.jpg"),
        ("deep/b.jpg", b"data/deep/b.jpg"),
        (f"{there}/more/d.jpg", b"more/d.jpg"),
        (f"{there}/more/e", b"more/e"),
    ]
    reasons = {file.path: file.reason for file in listing.unusable}
    assert sorted(reasons) == sorted(f"list.txt:{number}" for number in range(6, 14))
    assert "outside of where data may lie" in reasons["list.txt:8"]
    assert "neither relative to the list nor s3://" in reasons["list.txt:6"]
    assert "cannot be had from S3" in reasons["list.txt:12"]
    assert "named by line 1 already" in reasons["list.txt:13"]
    with pytest.raises(DataError, match="leads out"):
        FileList(Bucket(f"{there}/data/list.txt"), ()).open(table.member(2))


def test_a_shard_larger_than_the_cache_names_the_setting(objects_bucket: Any, tmp_path: Path) -> None:
    root = lay_out("shards", tmp_path / "data")
    place = f"{send(objects_bucket, tmp_path / 'data')}/{root}"
    with pytest.raises(DataError, match=r"has \d+ bytes, more than the 100 .* DETCO_DATA_CACHE_BYTES"):
        scanned(place, tmp_path / "job", cache=cache_in(tmp_path / "cache", 100))
    with pytest.raises(DataError, match='give the job one, "cache"'):
        scanned(place, tmp_path / "by hand")


def test_splits_of_rows_and_unlike_things_are_told_apart(objects_bucket: Any, tmp_path: Path) -> None:
    for key in ("mixed/a.tar", "mixed/deep/a.jpg", "flat/a.jpg", "flat/deep/b.tar", "train/cat/a.jpg"):
        objects_bucket.put_object(Key=key, Body=b"x")
    place = f"s3://{objects_bucket.name}"
    with pytest.raises(DataError, match=r"holds image files and tar shards.*exclude: '\*\.tar'"):
        scanned(f"{place}/mixed", tmp_path / "a", cache=cache_in(tmp_path / "cache"))
    with pytest.raises(DataError, match=r"no readable image in .* flat|all 1 are broken, e\.g\. a\.jpg"):
        scanned(f"{place}/flat", tmp_path / "b", cache=cache_in(tmp_path / "cache"))
    at = Bucket(place)
    assert (at.has_folder("train"), at.has_folder("tra"), at.has_folder("."), at.has_file("train")) == (1, 0, 1, 0)
    assert not Bucket(f"{place}/flat/list.txt").has_folder("deep")
    assert Disk(tmp_path).name_of("a@b.tar") == "a@b.tar"
    assert (at.name_of("a@b.tar@0f"), at.name_of("@"), at.name_of(None)) == ("a@b.tar", None, None)


@pytest.mark.slow
def test_rows_in_splits(objects_bucket: Any, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    images = [path.read_bytes() for path in write_photos(tmp_path / "photos", 2, (24, 18))]
    rows = datasets.load_from_disk(str(write_rows(tmp_path / "rows", images)))
    both = datasets.DatasetDict({"train": rows.select([1]), "test": rows.select([0])})
    both.save_to_disk(str(tmp_path / "both"))
    root = send(objects_bucket, tmp_path / "both")
    _, ref = scanned(root, tmp_path / "job", cache=cache_in(tmp_path / "cache"))
    files = ImageFiles.open(ref)
    assert [(file.path, content(files.bytes(n))) for n, file in enumerate(files)] == [
        ("test/0000000000", images[0]),
        ("train/0000000000", images[1]),
    ]
