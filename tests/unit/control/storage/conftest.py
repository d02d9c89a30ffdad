"""A local store and an S3 one (moto's server), empty, under one fixture."""

from pathlib import Path
from uuid import uuid4

import boto3
import pytest

from control.storage.base import Store
from control.storage.local import LocalStore
from control.storage.s3 import open_s3


@pytest.fixture(params=["local", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Every test that takes it runs on both kinds."""
    if request.param == "local":
        return LocalStore(tmp_path / "artifacts")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    endpoint, bucket = request.getfixturevalue("s3_endpoint"), f"b{uuid4().hex}"
    boto3.client("s3", endpoint_url=endpoint).create_bucket(Bucket=bucket)
    return open_s3(f"s3://{bucket}/some/prefix?endpoint_url={endpoint}")
