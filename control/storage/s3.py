"""Artifacts in a bucket of S3, or of anything that speaks its protocol."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import boto3
from boto3.exceptions import Boto3Error
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from control.errors import ArtifactMissing, SettingsError, StoreError, StoreFull
from control.storage.base import CHUNK, Entry, is_key, key_of, place_verified, verify

_OPTIONS = ("endpoint_url", "region_name")
_ABSENT = ("404", "NoSuchKey", "NotFound")
_FULL = ("507", "InsufficientStorage", "QuotaExceeded", "XMinioStorageFull")


class S3Store:
    """A `Store` in one bucket, under a prefix that is empty or ends with a slash."""

    def __init__(self, client: Any, bucket: str, prefix: str) -> None:
        self.client = client
        self.bucket = bucket
        self.prefix = prefix

    def put(self, path: Path, sha256: str) -> str:
        key = key_of(sha256)
        if self._size(key) != path.stat().st_size:
            verify(path, sha256)
            with _reachable(key):
                # One object appears whole or not at all, also when it is uploaded in parts.
                self.client.upload_file(str(path), self.bucket, self.prefix + key)
        return key

    def fetch(self, key: str, dest: Path, sha256: str) -> None:
        place_verified(self.open_range(key), dest, sha256)

    def open_range(self, key: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        if (end is not None and end <= start) or start >= self.size(key):
            return
        part = f"bytes={start}-{'' if end is None else end - 1}"
        with _reachable(key):
            body = self.client.get_object(Range=part, **self._named(key))["Body"]
            yield from body.iter_chunks(CHUNK)

    def size(self, key: str) -> int:
        with _reachable(key):
            return int(self.client.head_object(**self._named(key))["ContentLength"])

    def exists(self, key: str) -> bool:
        return self._size(key) is not None

    def delete(self, key: str) -> None:
        with _reachable(key):
            self.client.delete_object(**self._named(key))

    def entries(self) -> Iterator[Entry]:
        pages = self.client.get_paginator("list_objects_v2").paginate(
            Bucket=self.bucket, Prefix=f"{self.prefix}sha256/"
        )
        with _reachable("its list"):
            for page in pages:
                for found in page.get("Contents", []):
                    key = found["Key"].removeprefix(self.prefix)
                    if is_key(key):
                        yield Entry(key, found["Size"], found["LastModified"])

    def sweep(self, before: datetime) -> int:
        """Uploads in parts that were never completed; their bytes are not told."""
        uploads = self.client.get_paginator("list_multipart_uploads").paginate(Bucket=self.bucket, Prefix=self.prefix)
        with _reachable("its unfinished uploads"):
            for page in uploads:
                for found in page.get("Uploads", []):
                    if found["Initiated"] < before and is_key(found["Key"].removeprefix(self.prefix)):
                        part = {"Key": found["Key"], "UploadId": found["UploadId"]}
                        self.client.abort_multipart_upload(Bucket=self.bucket, **part)
        return 0

    def _size(self, key: str) -> int | None:
        try:
            return self.size(key)
        except ArtifactMissing:
            return None

    def _named(self, key: str) -> dict[str, str]:
        return {"Bucket": self.bucket, "Key": self.prefix + key}


def open_s3(url: str) -> S3Store:
    """The store of `s3://bucket/prefix?endpoint_url=...&region_name=...`; credentials are found as boto3 finds them.

    Raises:
        SettingsError: the URL has no bucket, or an option that is not one.
    """
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query))
    if not parts.netloc or not set(options) <= set(_OPTIONS):
        raise SettingsError(f"DETCO_STORE_URL: {url} is not s3://BUCKET/PREFIX with options of {', '.join(_OPTIONS)}")
    timeouts = Config(connect_timeout=5, read_timeout=60, retries={"max_attempts": 3, "mode": "standard"})
    prefix = parts.path.strip("/")
    return S3Store(boto3.client("s3", config=timeouts, **options), parts.netloc, f"{prefix}/" if prefix else "")


@contextmanager
def _reachable(key: str) -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code")
        if code in _ABSENT:
            raise ArtifactMissing(f"there is no artifact {key} in the bucket") from error
        if code in _FULL:
            raise StoreFull(f"there is no room in the bucket for {key}: {error}") from error
        raise StoreError(f"the artifact store refused {key}: {error}") from error
    except (BotoCoreError, Boto3Error) as error:
        raise StoreError(f"the artifact store cannot be reached: {error}") from error
