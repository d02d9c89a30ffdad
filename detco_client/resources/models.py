"""Models, their versions and aliases."""

from typing import Any, Literal, TypedDict

from detco_client.resources.base import Resource


class ModelVersion(Resource):
    """One exported version of a model."""

    model: str
    version: int
    ref: str
    """`name:version`."""
    state: Literal["exporting", "ready", "failed"]
    reason: str | None
    files: dict[str, dict[str, Any]] | None
    """`bytes` and `sha256` by format."""
    weights_digest: str | None
    manifest: dict[str, Any] | None
    parity: dict[str, Any] | None
    lineage: dict[str, Any] | None
    license: str | None
    aliases: list[str]


class Model(Resource):
    """A name under which versions are counted."""

    name: str
    latest_version: int | None
    aliases: dict[str, int]
    """Version by alias."""


class Alias(TypedDict):
    """Where an alias points; `etag` is what `if_match` takes."""

    model: str
    alias: str
    version: int
    etag: str
