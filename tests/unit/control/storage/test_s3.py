import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from uuid import uuid4

import boto3
import pytest
from botocore.config import Config

from control.errors import ArtifactMissing, DigestMismatch, SettingsError, StoreError
from control.storage.base import file_digest, key_of
from control.storage.s3 import S3Store, open_s3

SHA = hashlib.sha256(b"abc").hexdigest()


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")


@pytest.mark.parametrize(
    ("url", "prefix"), [("s3://b", ""), ("s3://b/", ""), ("s3://b/x/y/?region_name=eu-west-1", "x/y/")]
)
def test_addresses(url: str, prefix: str) -> None:
    store = open_s3(url)
    assert (store.bucket, store.prefix) == ("b", prefix)


@pytest.mark.parametrize("url", ["s3:///x", "s3://b?aws_secret_access_key=x"])
def test_wrong_addresses(url: str) -> None:
    with pytest.raises(SettingsError, match="DETCO_STORE_URL"):
        open_s3(url)


def test_a_bucket_that_is_missing_or_away_is_a_store_error(s3_endpoint: str, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"abc")
    with pytest.raises(StoreError):
        open_s3(f"s3://no-such-bucket?endpoint_url={s3_endpoint}").put(file, SHA)
    with pytest.raises(StoreError, match="cannot be reached"):
        open_s3("s3://b?endpoint_url=http://127.0.0.1:9").put(file, SHA)


class Cut(BaseHTTPRequestHandler):
    """A store that promises two thousand bytes and is cut off after a thousand."""

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "2000")
        self.end_headers()

    def do_GET(self) -> None:
        self.do_HEAD()
        self.wfile.write(b"x" * 1000)

    def log_message(self, *_: object) -> None:
        pass


def test_a_transfer_that_is_cut_off_is_no_damage_and_leaves_nothing(tmp_path: Path) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Cut)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        store = open_s3(f"s3://b?endpoint_url=http://127.0.0.1:{server.server_port}")
        with pytest.raises(StoreError) as caught:
            store.fetch(key_of(SHA), tmp_path / "dest", SHA)
        store.client.close()
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    # Those are what an artifact is called damaged for.
    assert not isinstance(caught.value, ArtifactMissing | DigestMismatch)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def bucket(s3_endpoint: str) -> S3Store:
    """A store whose files of 5 MiB and more (the smallest part that S3 takes) are uploaded in parts."""
    name = f"b{uuid4().hex}"
    client = boto3.client("s3", endpoint_url=s3_endpoint)
    client.create_bucket(Bucket=name)
    return S3Store(client, name, "some/", part_bytes=5 * 2**20)


@pytest.fixture(params=[1000, pytest.param(6 * 2**20, marks=pytest.mark.slow)], ids=["in one piece", "in parts"])
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(b"weights!" * (request.param // 8))
    return path


def stored(bucket: S3Store, key: str) -> bytes:
    return bytes(bucket.client.get_object(Bucket=bucket.bucket, Key=f"some/{key}")["Body"].read())


def writes(bucket: S3Store) -> list[str]:
    """The names of the calls that write, from here on."""
    seen: list[str] = []
    for name in ("PutObject", "CompleteMultipartUpload"):
        bucket.client.meta.events.register(f"before-call.s3.{name}", lambda model, **_: seen.append(model.name))
    return seen


def test_what_is_whole_is_not_sent_again(bucket: S3Store, file: Path) -> None:
    made = writes(bucket)
    key = bucket.put(file, file_digest(file))
    assert bucket.put(file, file_digest(file)) == key
    assert len(made) == 1


@pytest.mark.parametrize("checked", [{}, {"ChecksumAlgorithm": "SHA256"}, {"Metadata": {"sha256": "as it says"}}])
def test_an_object_of_the_right_size_and_other_bytes_is_replaced(
    bucket: S3Store, file: Path, checked: dict[str, str]
) -> None:
    """Truncated, and padded to its size, by whoever: the service knows no checksum of it, or another one."""
    content = file.read_bytes()
    key = key_of(file_digest(file))
    padded = content[: len(content) // 2].ljust(len(content), b"\0")
    bucket.client.put_object(Bucket=bucket.bucket, Key=f"some/{key}", Body=padded, **checked)
    assert bucket.put(file, file_digest(file)) == key
    assert stored(bucket, key) == content


def test_without_a_checksum_beside_it_even_a_whole_object_is_sent_again(bucket: S3Store, file: Path) -> None:
    key = key_of(file_digest(file))
    bucket.client.put_object(Bucket=bucket.bucket, Key=f"some/{key}", Body=file.read_bytes())
    made = writes(bucket)
    bucket.put(file, file_digest(file))
    bucket.put(file, file_digest(file))
    assert len(made) == 1


@pytest.mark.slow
def test_a_service_without_checksums_is_not_asked_for_them_and_never_trusted(s3_endpoint: str, tmp_path: Path) -> None:
    name = f"b{uuid4().hex}"
    client = boto3.client("s3", endpoint_url=s3_endpoint, config=Config(request_checksum_calculation="when_required"))
    client.create_bucket(Bucket=name)
    bucket = S3Store(client, name, "some/", part_bytes=5 * 2**20)
    file = tmp_path / "file"
    file.write_bytes(b"weights!" * (6 * 2**17))
    made = writes(bucket)
    for _ in range(2):
        key = bucket.put(file, file_digest(file))
    assert len(made) == 2
    assert stored(bucket, key) == file.read_bytes()
