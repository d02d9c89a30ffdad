"""Data sets and their immutable versions."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import Field, StringConstraints

from control.db.models import Dataset, DatasetVersion
from control.records.datasets.dataset_usage import Usage
from detco_core.contract.datasets import DatasetKind
from server.http.schemas.base import Body, Name, Resource, Text, View

Uri = Annotated[str, StringConstraints(min_length=1, max_length=4096)]
Patterns = Annotated[tuple[Text, ...], Field(max_length=1000)]

Splits = Annotated[
    dict[
        Annotated[str, StringConstraints(min_length=1, max_length=40)],
        Annotated[str, StringConstraints(max_length=1024)],
    ],
    Field(min_length=1, max_length=20),
]


class DatasetRequest(Body):
    """A folder of images under a name."""

    name: Name
    kind: DatasetKind
    uri: Uri
    """An absolute path or `file://...` that every worker sees, inside the allowed roots; `s3://BUCKET/PREFIX` in one;
    or `upload:ID`. What lies there may be a folder of images, a list of them, tar shards, or saved rows."""
    splits: Splits | None = None
    """Folder by split, relative to the root (`.`: the root itself), where the kind's own layout does not say it. What
    lies in none of them is left out; of kind `labelled` the folders in them are the classes."""
    exclude: Patterns = ()
    """Glob patterns of relative paths to leave out."""
    license: Text | None = None


class RescanRequest(Body):
    """A new version of a data set: its folder as it is now."""

    exclude: Patterns = ()
    """Glob patterns of relative paths to leave out."""


class BrokenFileView(View):
    """A file that looks like an image and cannot be read, and why."""

    path: str
    reason: str


class StatisticsView(View):
    """Of the pixels of images with as many channels, by a fixed sample of them; values are of 0..1, per channel."""

    images: int
    """With this many channels, in the whole data set."""
    mean: list[float]
    std: list[float]
    bit_depth: int


class VersionView(Resource):
    """One version: an immutable list of files with a digest. The counts are null until the scan is done."""

    name: str
    """Of the data set."""
    version: int
    ref: str
    """`name@version`, as runs and evaluations name it."""
    kind: str
    root: str
    exclude: list[str]
    split_folders: dict[str, str] | None
    """As they were given; null where the kind's own layout says it."""
    state: str
    """`scanning`, `ready` or `failed`."""
    reason: str | None
    job: str | None
    """Id of the scan; its events and cancel are those of a run."""
    digest: str | None
    """Of the file manifest."""
    images: int | None
    bytes: int | None
    splits: dict[str, int] | None
    labels: dict[str, int] | None
    channels: dict[str, int] | None
    """Images by channel count."""
    width: list[int] | None
    """Smallest, median and largest, in pixels."""
    height: list[int] | None
    statistics: dict[str, StatisticsView] | None
    """By channel count."""
    broken: list[BrokenFileView] | None
    """All, or the first thousand; then all are in the scan's artifact `broken.jsonl`."""
    broken_count: int | None


class UserView(View):
    """A job that reads a data set, or whose monitor does."""

    id: str
    name: str | None
    state: str
    dataset: str | None
    """`name@version`"""
    created_at: datetime
    created_by: str


class ModelUserView(View):
    """A model version that was exported from a run on a data set."""

    model: str
    version: int
    ref: str
    run: str | None


class UsageView(View):
    """What uses a data set, and what came of it; of each kind the newest hundred, `counts` has all."""

    name: str
    versions: list[str]
    """`name@version`, newest first."""
    runs: list[UserView]
    evaluations: list[UserView]
    extractions: list[UserView]
    models: list[ModelUserView]
    counts: dict[str, int]
    """Of `runs`, `evaluations`, `extractions` and `models`."""
    bytes: int
    """In the store because of it: manifests and reports of scans, uploads, images that runs kept."""


class DatasetView(VersionView):
    """A data set as its newest version is; `id` and `created_at` are the data set's own."""

    uri: str
    """As it was given."""
    license: str | None


def usage_view(name: str, found: Usage) -> UsageView:
    kinds = {"runs": "pretrain", "evaluations": "evaluate", "extractions": "extract"}
    same = ("id", "name", "state", "dataset", "created_at", "created_by")
    users: dict[str, Any] = {
        shown: [{field: getattr(run, field) for field in same} for run in found.jobs[kind]]
        for shown, kind in kinds.items()
    }
    counts = {shown: found.counts[kind] for shown, kind in kinds.items()} | {"models": found.counts["models"]}
    models = [{"model": v.model, "version": v.number, "ref": v.ref, "run": v.source_run_id} for v in found.models]
    versions = [version.ref for version in found.versions]
    own = {"name": name, "versions": versions, "models": models, "counts": counts, "bytes": found.bytes}
    return UsageView.model_validate(users | own)


def version_view(row: DatasetVersion) -> VersionView:
    return VersionView.model_validate(_fields(row))


def dataset_view(row: Dataset, latest: DatasetVersion) -> DatasetView:
    own = {field: getattr(row, field) for field in ("id", "created_at", "created_by", "uri", "license")}
    return DatasetView.model_validate(_fields(latest) | own)


def _fields(row: DatasetVersion) -> dict[str, Any]:
    same = (
        *("id", "created_at", "created_by", "ref", "kind", "root", "exclude", "state", "reason", "digest"),
        *("images", "bytes", "splits", "labels", "channels", "width", "height", "statistics", "broken"),
        *("split_folders", "broken_count"),
    )
    renamed: dict[str, Any] = {"name": row.dataset, "version": row.number, "job": row.run_id}
    if row.broken_count is None and row.broken is not None:
        renamed["broken_count"] = len(row.broken)
    return {field: getattr(row, field) for field in same} | renamed
