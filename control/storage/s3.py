"""Artifacts in a bucket of S3, or of anything that speaks its protocol."""

import base64
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import boto3
from boto3.exceptions import Boto3Error
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from control.errors import ArtifactMissing, SettingsError, StoreError, StoreFull
from control.storage.base import CHUNK, Entry, is_key, key_of, place_verified, verify

_OPTIONS = ("endpoint_url", "region_name")
_ABSENT = ("404", "NoSuchKey", "NotFound")
_FULL = ("507", "InsufficientStorage", "QuotaExceeded", "XMinioStorageFull")
PART_BYTES = 64 * 2**20
"""A larger file is uploaded in parts of this size."""


class S3Store:
    """A `Store` in one bucket, under a prefix that is empty or ends with a slash.

    The service checks what arrives by SHA-256 and keeps that checksum beside the object: it alone tells whether one
    that is there already is whole (docs/decisions/171).
    """

    def __init__(self, client: Any, bucket: str, prefix: str, part_bytes: int = PART_BYTES) -> None:
        self.client = client
        self.bucket = bucket
        self.prefix = prefix
        self.part_bytes = part_bytes

    def put(self, path: Path, sha256: str) -> str:
        key, whole = key_of(sha256), _encoded(bytes.fromhex(sha256.removeprefix("sha256:")))
        found = self._checksum(key)
        if found == whole:
            return key
        verify(path, sha256)
        if found is None or found != self._checksum_of_parts(path):
            self._upload(path, key, whole)
        return key

    def _upload(self, path: Path, key: str, whole: str) -> None:
        # Not asked of a service that the operator says knows no checksums; there, no object is ever trusted.
        knows = self.client.meta.config.request_checksum_calculation == "when_supported"
        checked = {"ChecksumAlgorithm": "SHA256"} if knows else {}
        if path.stat().st_size < self.part_bytes:
            checked["ChecksumSHA256"] = whole
        sizes = TransferConfig(multipart_threshold=self.part_bytes, multipart_chunksize=self.part_bytes)
        with _reachable(key):
            # One object appears whole or not at all, also when it is uploaded in parts.
            self.client.upload_file(str(path), self.bucket, self.prefix + key, ExtraArgs=checked, Config=sizes)

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
        try:
            return self.size(key) >= 0
        except ArtifactMissing:
            return False

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

    def _checksum(self, key: str) -> str | None:
        """What the service found the object's SHA-256 to be; None where there is no object, or nobody asked for it."""
        try:
            with _reachable(key):
                found = self.client.head_object(ChecksumMode="ENABLED", **self._named(key)).get("ChecksumSHA256")
        except ArtifactMissing:
            return None
        return found and str(found).partition("-")[0]

    def _checksum_of_parts(self, path: Path) -> str:
        """Of an object uploaded in parts, S3 knows the digest of its parts' digests."""
        parts = hashlib.sha256()
        with path.open("rb") as file:
            for start in range(0, path.stat().st_size, self.part_bytes):
                part = hashlib.sha256()
                file.seek(start)
                for taken in range(0, self.part_bytes, CHUNK):
                    part.update(file.read(min(CHUNK, self.part_bytes - taken)))
                parts.update(part.digest())
        return _encoded(parts.digest())

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


def _encoded(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


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
