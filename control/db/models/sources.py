"""Tables of what goes into a run: data sets and their versions, foreign weights, uploads."""

from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from control.db.base import Base, Made
from control.db.ids import new_id


class Dataset(Made, Base):
    """A name for a folder of images; what is in it is in its versions."""

    __tablename__ = "datasets"

    name: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(unique=True, default=partial(new_id, "ds"))
    kind: Mapped[str]
    uri: Mapped[str]
    """As it was given."""
    root: Mapped[str]
    """Resolved absolute path, `s3://BUCKET/PREFIX`, or `upload:ID`."""
    split_folders: Mapped[dict[str, str] | None]
    """Relative folder by split, where it is laid out in its own way."""
    license: Mapped[str | None]
    deleted_at: Mapped[datetime | None]


class DatasetVersion(Made, Base):
    """An immutable list of files with a digest; repeats kind and root of its data set, so that it stands alone."""

    __tablename__ = "dataset_versions"
    __table_args__ = (UniqueConstraint("dataset", "number"),)

    id: Mapped[str] = mapped_column(primary_key=True, default=partial(new_id, "dsv"))
    dataset: Mapped[str] = mapped_column(ForeignKey("datasets.name"))
    number: Mapped[int]
    kind: Mapped[str]
    root: Mapped[str]
    exclude: Mapped[list[str]]
    """Glob patterns of relative paths left out."""
    split_folders: Mapped[dict[str, str] | None]
    state: Mapped[str] = mapped_column(default="scanning")
    """`scanning`, `ready`, `failed` or `deleted`."""
    reason: Mapped[str | None]
    run_id: Mapped[str | None]
    """The run of kind `check` that scans it."""
    digest: Mapped[str | None]
    """Of the file manifest; from here on None until the scan is done."""
    manifest_key: Mapped[str | None]
    """Of the file manifest, in the artifact store."""
    images: Mapped[int | None]
    bytes: Mapped[int | None] = mapped_column(BigInteger)
    splits: Mapped[dict[str, int] | None]
    labels: Mapped[dict[str, int] | None]
    channels: Mapped[dict[str, int] | None]
    width: Mapped[list[int] | None]
    """Smallest, median and largest, in pixels."""
    height: Mapped[list[int] | None]
    statistics: Mapped[dict[str, Any] | None]
    """Mean, standard deviation and depth of the pixels, by channel count; None where no scan has measured them."""
    broken: Mapped[list[dict[str, Any]] | None]
    """`{"path", "reason"}` of broken files: all, or the first thousand."""
    broken_count: Mapped[int | None]
    """None where nothing counted them: `broken` has all."""

    @property
    def ref(self) -> str:
        """`name@version`"""
        return f"{self.dataset}@{self.number}"


class Weights(Made, Base):
    """Foreign weights: a source of their own."""

    __tablename__ = "weights"

    id: Mapped[str] = mapped_column(primary_key=True, default=partial(new_id, "wts"))
    name: Mapped[str | None] = mapped_column(index=True)
    uri: Mapped[str]
    """As it was given."""
    format: Mapped[str | None]
    """As it was asked for; once they are ready, as it was found."""
    architecture: Mapped[str]
    license: Mapped[str | None]
    state: Mapped[str] = mapped_column(default="checking")
    """`checking`, `ready` or `failed`."""
    reason: Mapped[str | None]
    run_id: Mapped[str | None]
    """The run of kind `import` that checks them."""
    digest: Mapped[str | None]
    """Of the tensors, as a model version's `weights_digest`; from here on None until they are ready."""
    key: Mapped[str | None]
    """Of the file in the artifact store: the tensors by our names."""
    key_report: Mapped[dict[str, Any] | None]
    """Matched, missing and unexpected tensor names."""
    file_digest: Mapped[str | None]
    file_bytes: Mapped[int | None] = mapped_column(BigInteger)


class Upload(Made, Base):
    """Bytes on their way in from a machine that shares no disk with the service."""

    __tablename__ = "uploads"

    id: Mapped[str] = mapped_column(primary_key=True, default=partial(new_id, "upl"))
    kind: Mapped[str]
    """`weights`, `dataset` or `bundle`."""
    state: Mapped[str] = mapped_column(default="receiving")
    """`receiving`, `ready` or `failed`."""
    reason: Mapped[str | None]
    bytes: Mapped[int] = mapped_column(BigInteger)
    received: Mapped[int] = mapped_column(BigInteger, default=0)
    digest: Mapped[str]
    """Of all bytes, as it was announced."""
    key: Mapped[str | None]
    """In the artifact store, once all bytes are there."""
    contents: Mapped[dict[str, Any] | None]
    """What is in an archive (`storage.archives.Contents`)."""
    expires_at: Mapped[datetime | None]
    """When it is given up if bytes are still missing."""


class UploadPart(Base):
    """Bytes of an upload that have come, an artifact of their own until the last have."""

    __tablename__ = "upload_parts"

    upload_id: Mapped[str] = mapped_column(ForeignKey("uploads.id"), primary_key=True)
    start: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    bytes: Mapped[int] = mapped_column(BigInteger)
    key: Mapped[str] = mapped_column(index=True)
