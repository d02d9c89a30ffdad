"""Objects of S3, or of what speaks its protocol: listed, looked at, read.

Credentials and endpoint are found as boto3 finds them (`AWS_ENDPOINT_URL_S3`, ...).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import Any, BinaryIO, NamedTuple, TypeVar

from detco_core.contract.datasets import REMOTE
from detco_core.data.sources import Lost, Unreachable, not_installed

T = TypeVar("T")

_CHUNK = 1 << 20
_TRIES = 3
_CONNECTIONS = 16
"""As many as threads of a scan ask at once."""
_ABSENT = (403, 404)
"""Answers about one object that is not there: where it may not be listed either, S3 does not say so."""


class Object(NamedTuple):
    """What the store says of an object."""

    key: str
    bytes: int
    written: int
    """Unix seconds."""
    tag: str
    """Differs for other bytes; it is no digest."""


def is_remote(root: str) -> bool:
    return root.startswith(REMOTE)


def split(place: str) -> tuple[str, str]:
    """The bucket and the key of `s3://BUCKET/KEY`."""
    bucket, _, key = place.removeprefix(REMOTE).partition("/")
    return bucket, key


@lru_cache(maxsize=1)
def client() -> Any:
    """The client of this process."""
    try:
        import boto3
        from botocore.config import Config
    except ImportError as error:
        raise not_installed("a data set in S3", "boto3", "control") from error
    retries = {"max_attempts": 5, "mode": "standard"}
    config = Config(connect_timeout=5, read_timeout=60, retries=retries, max_pool_connections=_CONNECTIONS)
    return boto3.client("s3", config=config)


def listed(bucket: str, prefix: str, *, deep: bool = True, page: int = 1000) -> Iterator[Object]:
    """Objects whose keys begin so, by their keys; unless `deep`, those without a slash after it.

    Raises:
        Unreachable: the store does not answer, or refuses.
        Lost: there is no such bucket, or it may not be looked at.
    """
    options = {} if deep else {"Delimiter": "/"}
    with answering(f"{REMOTE}{bucket}/{prefix}".rstrip("/")):
        pages = (
            client()
            .get_paginator("list_objects_v2")
            .paginate(Bucket=bucket, Prefix=prefix, PaginationConfig={"PageSize": page}, **options)
        )
        for found in (item for page in pages for item in page.get("Contents", ())):
            written = int(found["LastModified"].timestamp())
            yield Object(found["Key"], int(found["Size"]), written, found["ETag"])


def look_at(bucket: str, key: str) -> Object:
    """What the store says of an object; raises `Lost`, and `Unreachable`."""
    with answering(f"{REMOTE}{bucket}/{key}"):
        return _object(key, client().head_object(Bucket=bucket, Key=key))


@contextmanager
def opened(bucket: str, key: str) -> Iterator[tuple[Object, Iterator[bytes]]]:
    """What an object is, and its bytes, piece by piece; raises as `look_at`."""
    with answering(f"{REMOTE}{bucket}/{key}"):
        answer = client().get_object(Bucket=bucket, Key=key)
        try:
            # A body that ends before its length is an error of the library.
            yield _object(key, answer), answer["Body"].iter_chunks(_CHUNK)
        finally:
            answer["Body"].close()


def copy(bucket: str, wanted: Object, file: BinaryIO) -> None:
    """Write an object to a file; raises `Lost` when it is not `wanted` any more, and as `look_at`."""

    def attempt() -> None:
        file.seek(0)
        with opened(bucket, wanted.key) as (found, chunks):
            if found != wanted:
                raise Lost("it was written to since it was scanned")
            file.writelines(chunks)

    again(attempt)


def again(attempt: Callable[[], T]) -> T:
    """What `attempt` returns, tried three times: the library asks again by itself only until the first byte comes."""
    for _ in range(_TRIES - 1):
        with suppress(Unreachable):
            return attempt()
    return attempt()


def _object(key: str, answer: dict[str, Any]) -> Object:
    return Object(key, int(answer["ContentLength"]), int(answer["LastModified"].timestamp()), answer["ETag"])


@contextmanager
def answering(what: str) -> Iterator[None]:
    """Turns the library's errors into ours."""
    client()  # says so itself where there is no library
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (ClientError, BotoCoreError, Boto3Error) as error:
        response = getattr(error, "response", {})
        is_absent = response.get("ResponseMetadata", {}).get("HTTPStatusCode") in _ABSENT
        raise (Lost if is_absent else Unreachable)(f"{what} cannot be had from S3: {error}") from error
