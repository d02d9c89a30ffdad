"""Images that are objects below a prefix of S3, or of what speaks its protocol, read through this host's cache.

Credentials and endpoint are found as boto3 finds them (`AWS_ENDPOINT_URL_S3`, ...). An object is what it was in the
listing only while it has the size and time of change it had there; one written to since is not read.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from io import BytesIO
from typing import Any

from detco_core.contract.datasets import IMAGE_SUFFIXES, OBJECT, REMOTE, DatasetFile, ObjectCache
from detco_core.contract.errors import DataError
from detco_core.data.file_table import Member
from detco_core.data.manifest import stays_inside
from detco_core.data.object_cache import Kept
from detco_core.data.sources import MAX_BYTES, Bytes, Listing, excluded, not_installed, unnamed
from detco_core.data.spill import BrokenFiles


@dataclass(frozen=True, slots=True)
class Objects:
    """The objects below `root` (`s3://BUCKET/PREFIX`) whose names say they are images."""

    root: str
    cache: ObjectCache | None = None
    """None: every read goes to the store."""

    def listing(self, exclude: Sequence[str] = ()) -> Listing:
        """As `Source`. Names with a part that is hidden are left out; the store lists them in order."""
        unusable = BrokenFiles()
        return Listing(self._files(exclude, unusable), unusable)

    def open(self, member: Member) -> Bytes:
        if member.bytes > MAX_BYTES:
            raise DataError(f"{member.bytes} bytes, more than the limit of {MAX_BYTES}")
        name = f"{member.path}\0{member.bytes}\0{member.position}"
        kept = None if self.cache is None else Kept(self.cache, self.root)
        data = None if kept is None else kept.get(name)
        if data is None:
            data = self._fetch(member)
            if kept is not None:
                kept.put(name, data)
        return BytesIO(data)

    def _files(self, exclude: Sequence[str], unusable: BrokenFiles) -> Iterator[DatasetFile]:
        bucket, prefix = _split(self.root)
        with _Answering(self.root):
            pages = client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
            for found in (item for page in pages for item in page.get("Contents", ())):
                path = found["Key"][len(prefix) :]
                parts = path.split("/")
                if not path.lower().endswith(IMAGE_SUFFIXES) or any(
                    part.startswith(".") for part in parts if part != ".."
                ):
                    continue
                if "" in parts or not stays_inside(path) or "\0" in path:
                    unusable.append(path or "/", "the name leaves the prefix, or has an empty part")
                elif not excluded(path, exclude):
                    file = replace(unnamed(path), bytes=int(found["Size"]))
                    yield replace(file, container=OBJECT, position=int(found["LastModified"].timestamp()))

    def _fetch(self, member: Member) -> bytes:
        bucket, prefix = _split(self.root)
        with _Answering(member.path):
            answer = client().get_object(Bucket=bucket, Key=prefix + member.path)
            changed = int(answer["LastModified"].timestamp()) != member.position
            if changed or answer["ContentLength"] != member.bytes:
                answer["Body"].close()
                raise DataError("it was written to since it was scanned")
            data: bytes = answer["Body"].read()
        return data


def is_remote(root: str) -> bool:
    return root.startswith(REMOTE)


@lru_cache(maxsize=1)
def client() -> Any:
    """The client of this process."""
    try:
        import boto3
        from botocore.config import Config
    except ImportError as error:
        raise not_installed("a data set in S3", "boto3", "control") from error
    return boto3.client(
        "s3", config=Config(connect_timeout=5, read_timeout=60, retries={"max_attempts": 5, "mode": "standard"})
    )


class _Answering:
    """Turns the library's errors into ours."""

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None or isinstance(error, DataError):
            return
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError

        if isinstance(error, ClientError | BotoCoreError | Boto3Error):
            raise DataError(f"{self._what} cannot be had from S3: {error}") from error


def _split(root: str) -> tuple[str, str]:
    bucket, _, prefix = root.removeprefix(REMOTE).partition("/")
    return bucket, f"{prefix.rstrip('/')}/" if prefix.rstrip("/") else ""
