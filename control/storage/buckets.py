"""What lies in S3 beside the artifact store: data sets and files of weights; found as boto3 finds credentials."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from control.errors import InvalidRequest, StoreError
from control.storage.base import CHUNK

_LOOK_AT = 1000
_ASKING, _FETCHING = (3, 10), (5, 60)
"""Seconds to connect, and to wait for the next bytes: where a person waits, and where a job does."""


def first_names(place: str) -> list[str]:
    """Names of the first thousand objects below `s3://BUCKET/PREFIX`, relative to it.

    Raises:
        InvalidRequest: there is no such bucket, or it may not be looked at.
        StoreError: S3 cannot be reached.
    """
    bucket, prefix = _split(place)
    prefix = f"{prefix}/" if prefix else ""
    with _answering(place, "listed"):
        found = _client(*_ASKING).list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=_LOOK_AT)
    return [item["Key"][len(prefix) :] for item in found.get("Contents", ())]


def object_size(place: str) -> int:
    """Bytes of the object `s3://BUCKET/KEY`; raises as `first_names`."""
    bucket, key = _split(place)
    with _answering(place, "read"):
        return int(_client(*_ASKING).head_object(Bucket=bucket, Key=key)["ContentLength"])


def has_object(place: str) -> bool:
    """Whether there is an object `s3://BUCKET/KEY`; raises as `first_names`."""
    try:
        object_size(place)
    except InvalidRequest:
        return False
    return True


def fetch_object(place: str, dest: Path) -> None:
    """Write the object `s3://BUCKET/KEY` to `dest`: complete, or not at all; raises as `first_names`, and `OSError`."""
    bucket, key = _split(place)
    half = dest.with_name(f".{dest.name}")
    try:
        with _answering(place, "read"), half.open("wb") as file:
            # A body that ends before its length is an error of the library.
            for chunk in _client(*_FETCHING).get_object(Bucket=bucket, Key=key)["Body"].iter_chunks(CHUNK):
                file.write(chunk)
        half.replace(dest)
    finally:
        half.unlink(missing_ok=True)


def _split(place: str) -> tuple[str, str]:
    bucket, _, rest = place.removeprefix("s3://").partition("/")
    return bucket, rest


def _client(connect: float, read: float) -> Any:
    import boto3  # half a second: only those who use it wait
    from botocore.config import Config

    retries = {"max_attempts": 1, "mode": "standard"}
    return boto3.client("s3", config=Config(connect_timeout=connect, read_timeout=read, retries=retries))


@contextmanager
def _answering(place: str, done: str) -> Iterator[None]:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 400) >= 500:
            raise StoreError(f"{place} cannot be {done} now: {error}") from error
        raise InvalidRequest("uri", f"{place} cannot be {done}: {error}") from error
    except BotoCoreError as error:
        raise StoreError(f"{place} cannot be reached: {error}") from error
