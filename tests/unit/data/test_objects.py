"""Objects below a prefix of S3: scanned and read as files are, kept on this host, and never what they were not."""

import io
import os
import time
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from PIL import Image

from detco_core.contract.datasets import OBJECT, DatasetRef, ObjectCache
from detco_core.contract.errors import DataError
from detco_core.contract.jobs import CheckJob
from detco_core.data import object_cache, objects
from detco_core.data.bucket import Bucket
from detco_core.data.file_table import Member
from detco_core.data.freshness import changed_files
from detco_core.data.images import ImageFiles
from detco_core.data.object_cache import Kept
from detco_core.data.objects import Object
from detco_core.data.scan import MANIFEST, scan


@pytest.fixture
def bucket(objects_bucket: Any) -> Any:
    """A bucket with pictures below `some/prefix`, and other things."""
    for n, name in enumerate(["train/cat/b.png", "train/cat/a.png", "val/cat/ü.png", "train/.hidden.png", "notes.txt"]):
        objects_bucket.put_object(Key=f"some/prefix/{name}", Body=picture(n))
    objects_bucket.put_object(Key="some/prefix/val/cat/broken.png", Body=b"no picture")
    objects_bucket.put_object(Key="some/prefix/val/../../secret.png", Body=picture(9))
    objects_bucket.put_object(Key="some/prefixed/other.png", Body=picture(9))
    return objects_bucket


def picture(n: int) -> bytes:
    raw = io.BytesIO()
    Image.new("RGB", (30, 20), (n, 0, 0)).save(raw, "PNG")
    return raw.getvalue()


def check(root: str, folder: Path, cache: ObjectCache | None, **more: Any) -> Any:
    folder.mkdir(exist_ok=True)
    return scan(CheckJob(folder=str(folder), root=root, cache=cache, **more))


def test_scanned_and_read_through_the_cache(bucket: Any, tmp_path: Path) -> None:
    root, cache = f"s3://{bucket.name}/some/prefix", ObjectCache(folder=str(tmp_path / "cache"), max_bytes=10_000)
    report = check(root, tmp_path / "job", cache, kind="labelled")
    assert (report.images, report.splits, report.labels) == (3, {"train": 2, "val": 1}, {"cat": 3})
    assert [file.path for file in report.broken] == ["val/../../secret.png", "val/cat/broken.png"]
    manifest = str(tmp_path / "job" / MANIFEST)
    ref = DatasetRef(
        name="p@1", kind="labelled", root=root, manifest=manifest, digest=report.digest, scanned_at=0, cache=cache
    )
    files = ImageFiles.open(ref)
    assert [file.path for file in files] == ["train/cat/a.png", "train/cat/b.png", "val/cat/ü.png"]
    assert changed_files(files, ref) is None
    bucket.objects.all().delete()  # what the scan has read is on this host
    where = files.bytes(0)
    assert isinstance(where, io.BytesIO)
    assert where.getvalue() == picture(1)
    assert check_digest_is_stable(report.digest, manifest)
    with pytest.raises(DataError, match="cannot be had from S3"):
        ImageFiles.open(DatasetRef(name="p@1", kind="images", root=root, manifest=manifest)).bytes(0)


def check_digest_is_stable(digest: str, manifest: str) -> bool:
    return bool(ImageFiles.open(DatasetRef(name="p", kind="images", root="s3://b/p", manifest=manifest, digest=digest)))


def test_one_written_to_since_is_not_read(bucket: Any, tmp_path: Path) -> None:
    root = f"s3://{bucket.name}/some/prefix"
    report = check(root, tmp_path / "job", None, exclude=("val/*",))
    ref = DatasetRef(
        name="p@1", kind="images", root=root, manifest=str(tmp_path / "job" / MANIFEST), digest=report.digest
    )
    bucket.put_object(Key="some/prefix/train/cat/a.png", Body=picture(1) + b"\0")
    files = ImageFiles.open(ref)
    with pytest.raises(DataError, match="written to since"):
        files.bytes(0)
    assert ImageFiles.open(DatasetRef(name="p", kind="images", root=root)).table.path(0) == "train/cat/a.png"


def test_a_bucket_that_is_not_there_is_named(bucket: Any, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="s3://nowhere/at/all cannot be had from S3"):
        check("s3://nowhere/at/all", tmp_path / "job", None)
    with pytest.raises(DataError, match="no image files in s3://"):
        check(f"s3://{bucket.name}/empty", tmp_path / "job", None)


class _Cuts(BaseHTTPRequestHandler):
    """Ends each object but every third time before its end."""

    asked = 0

    def do_GET(self) -> None:
        type(self).asked += 1
        self.send_response(200)
        for name, value in (("Content-Length", "6"), ("ETag", '"1"'), ("Last-Modified", formatdate(0, usegmt=True))):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(b"abcdef"[: 6 if self.asked % 3 == 0 else 3])

    def log_message(self, *_: object) -> None:
        pass


def test_a_body_that_is_cut_off_is_asked_for_again(
    bucket: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Cuts(_Cuts):
        asked = 0

    with ThreadingHTTPServer(("127.0.0.1", 0), Cuts) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{server.server_address[1]}")
        objects.client.cache_clear()
        where = Bucket("s3://b/p").open(Member("a.jpg", OBJECT, 0, 6))
        with (tmp_path / "copy").open("wb") as file:
            objects.copy("b", Object("a.tar", 6, 0, '"1"'), file)
        server.shutdown()
        thread.join()
    assert isinstance(where, io.BytesIO)
    assert (where.getvalue(), (tmp_path / "copy").read_bytes()) == (b"abcdef", b"abcdef")
    assert Cuts.asked == 6


def test_the_cache_is_bounded_and_a_damaged_copy_is_none(tmp_path: Path) -> None:
    kept = Kept(ObjectCache(folder=str(tmp_path), max_bytes=3200), "s3://b/p")
    for n in range(10):
        kept.put(f"{n}", bytes(500))
        for path in tmp_path.glob("*/*/*"):
            os.utime(path, (time.time() - 100 + n,) * 2) if path.stat().st_mtime > time.time() - 50 else None
    assert sum(path.stat().st_size for path in tmp_path.glob("*/*/*")) <= 3200
    assert kept.get("0") is None
    assert kept.get("9") == bytes(500)
    for path in tmp_path.glob("*/*/*"):
        path.write_bytes(path.read_bytes()[:-1])
    assert kept.get("9") is None
    object_cache._added.clear()
