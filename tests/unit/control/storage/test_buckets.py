"""A look below a prefix: names relative to it, and errors that say whose fault it is."""

from uuid import uuid4

import boto3
import pytest

from control.errors import InvalidRequest, StoreError
from control.storage.buckets import first_names


def test_names_below_a_prefix(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3_endpoint)
    for name, value in (("ACCESS_KEY_ID", "test"), ("SECRET_ACCESS_KEY", "test"), ("DEFAULT_REGION", "us-east-1")):
        monkeypatch.setenv(f"AWS_{name}", value)
    bucket = boto3.resource("s3", endpoint_url=s3_endpoint).create_bucket(Bucket=f"b{uuid4().hex}")
    for key in ("p/b.jpg", "p/a/c.jpg", "pq/d.jpg"):
        bucket.put_object(Key=key, Body=b"1")
    assert first_names(f"s3://{bucket.name}/p") == ["a/c.jpg", "b.jpg"]
    assert first_names(f"s3://{bucket.name}") == ["p/a/c.jpg", "p/b.jpg", "pq/d.jpg"]
    assert first_names(f"s3://{bucket.name}/none") == []
    with pytest.raises(InvalidRequest, match="s3://nowhere/p cannot be listed"):
        first_names("s3://nowhere/p")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    with pytest.raises(StoreError, match="cannot be reached"):
        first_names(f"s3://{bucket.name}/p")
