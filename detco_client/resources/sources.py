"""What jobs work on: data sets, imported weights, uploads."""

from typing import Any, Literal

from detco_client.resources.base import Resource


class DatasetVersion(Resource):
    """An immutable list of files with a digest; the counts are None until the scan is done."""

    name: str
    """Of the data set."""
    version: int
    ref: str
    """`name@version`, as runs and evaluations name it."""
    kind: str
    state: Literal["scanning", "ready", "failed"]
    reason: str | None
    root: str
    digest: str | None
    images: int | None
    bytes: int | None
    splits: dict[str, int] | None
    labels: dict[str, int] | None
    channels: dict[str, int] | None
    """Images by channel count."""
    statistics: dict[str, dict[str, Any]] | None
    """By channel count: `mean`, `std` and `bit_depth` of the pixels."""
    broken: list[dict[str, str]] | None
    """Files that look like images and cannot be read: `path`, `reason`; at most a thousand of `broken_count`."""
    broken_count: int | None


class Dataset(DatasetVersion):
    """A data set as its newest version is; `id` and `created_at` are the data set's own."""

    uri: str
    """As it was given."""
    license: str | None


class Upload(Resource):
    """Bytes on their way in; `uri` names them once they are ready."""

    kind: Literal["weights", "dataset", "bundle", "boxes"]
    state: Literal["receiving", "ready", "failed"]
    reason: str | None
    bytes: int
    received: int
    sha256: str
    uri: str
    contents: dict[str, Any] | None
    """What is in the archive of a data set."""
    expires_at: str | None


class Weights(Resource):
    """Weights brought in from outside; `digest`, `file` and `report` are None until they are checked."""

    name: str | None
    uri: str
    architecture: str
    format: str | None
    license: str | None
    state: Literal["checking", "ready", "failed"]
    reason: str | None
    job: str | None
    digest: str | None
    """Of the tensors: equal weights, equal digest."""
    file: dict[str, Any] | None
    report: dict[str, list[str]] | None
    """Names of the keys `matched`, `missing` and `unexpected`."""
