"""Extractions, their files and their reports."""

from typing import Any, TypedDict

from detco_client.resources.jobs import Job


class ExtractionFile(TypedDict):
    """One file; `path` is relative to the extraction's files."""

    path: str
    bytes: int
    sha256: str


class ExtractionReport(TypedDict):
    """The result of an extraction."""

    images: int
    broken: int
    broken_images: list[dict[str, str]]
    """The first hundred: `path` and `reason`."""
    shards: int
    bytes: int
    index: ExtractionFile
    """Names every file, with its digest."""
    weights_digest: str
    dataset: str
    dataset_digest: str | None
    provider: str


class Extraction(Job):
    """An extraction; `report` once it is completed."""

    model: str
    weights_digest: str | None
    options: dict[str, Any]
    boxes_from: str | None
    licenses: dict[str, str]
    estimate: dict[str, Any]
    """`bytes`, `images`, `boxes`, `seconds`, null where not known, and `basis`."""
    report: ExtractionReport | None
