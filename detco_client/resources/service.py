"""The service itself, and what jobs have taken of it."""

from typing import TypedDict


class UsageRow(TypedDict):
    """What the jobs of one token, label, group or kind have taken."""

    key: str | None
    """None: jobs of no group."""
    jobs: int
    attempts: int
    gpu_seconds: float
    cpu_seconds: float | None
    bytes: int
    """That they have in the store now."""


class Info(TypedDict):
    """What the service is and what it takes."""

    version: str
    minimum_client: str
    limits: dict[str, int]
    formats: list[str]
    presets: list[str]
    tasks: list[str]
    dataset_kinds: list[str]
    default_model: str | None
