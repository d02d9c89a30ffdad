import hashlib
from pathlib import Path

import pytest

from control.errors import SettingsError, StoreError
from control.storage.s3 import open_s3

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
