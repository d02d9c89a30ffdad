"""Models: export versions, move aliases, pin, fetch files."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

from detco_client.download import OnBytes, download
from detco_client.errors import ClientError
from detco_client.resources.models import Alias, Model, ModelVersion
from detco_client.transport import Transport
from detco_client.waiting import wait

SUFFIXES = {
    "onnx": ".onnx",
    "torchvision": ".pth",
    "timm": ".timm.pth",
    "mmdetection": ".mmdetection.pth",
    "mmdetection_fpn": ".mmdetection_fpn.py",
    "detectron2": ".pkl",
    "detectron2_fpn": ".detectron2_fpn.yaml",
    "advice": ".advice.md",
    "manifest": ".manifest.json",
}
"""Of the files a download is written to when no other is named: no two of a version are the same."""


class Models:
    """`client.models`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def export(self, name: str, source: Mapping[str, Any], **more: Any) -> ModelVersion:
        """Queue the export of `{"run": ID, "checkpoint": "last"}` or `{"weights": ID}` as the next version of `name`.

        The model is made on first use; `more` is `license`, `formats`, `input`, ... as the API takes them.
        """
        return cast(ModelVersion, self._transport.create(f"{_path(name)}/versions", {**source, **more}))

    def get(self, name: str) -> Model:
        return cast(Model, self._transport.get(_path(name)))

    def list(self) -> Iterator[Model]:
        return self._transport.items("/v1/models")

    def version(self, name: str, version: int) -> ModelVersion:
        return cast(ModelVersion, self._transport.get(f"{_path(name)}/versions/{version}"))

    def versions(self, name: str) -> Iterator[ModelVersion]:
        """Every version, newest first."""
        return self._transport.items(f"{_path(name)}/versions")

    def wait(
        self,
        name: str,
        version: int,
        timeout: float | None = None,
        on_change: Callable[[ModelVersion], None] | None = None,
    ) -> ModelVersion:
        """The version once it is exported and checked; raises `JobFailed` when its files disagree with torch."""
        return wait(
            lambda: self.version(name, version),
            f"model {name}:{version}",
            good={"ready"},
            bad={"failed", "cancelled"},
            timeout=timeout,
            on_change=on_change,
        )

    def promote(self, name: str, version: int, alias: str = "production", if_match: str | None = None) -> Alias:
        """Point an alias at a version; returns when the server that took the call serves it, loaded and warm.

        `if_match` is the ETag the alias must still have; a moved alias then raises `Changed`.
        """
        headers = {"If-Match": if_match} if if_match else None
        path = f"{_path(name)}/aliases/{quote(alias, safe='')}"
        return cast(Alias, self._transport.put(path, {"version": version}, headers=headers))

    def alias_history(self, name: str, alias: str = "production") -> Iterator[Any]:
        """Every move of an alias, newest first."""
        return self._transport.items(f"{_path(name)}/aliases/{quote(alias, safe='')}/history")

    def pin(self, name: str, version: int, consumer: str) -> None:
        """Keep a version warm and undeletable for a consumer, named as it likes."""
        self._transport.put(_pin(name, version, consumer), {})

    def unpin(self, name: str, version: int, consumer: str) -> None:
        self._transport.delete(_pin(name, version, consumer))

    def delete(self, name: str, version: int | None = None, *, dry_run: bool = False) -> Any:
        """Delete a version, or the whole model; answers what was made from it and stays, and the bytes freed.

        Raises:
            Conflict: aliases, pins or jobs need it; names them.
        """
        path = _path(name) if version is None else f"{_path(name)}/versions/{version}"
        return self._transport.delete(path, {"dry_run": True} if dry_run else None)

    def remove_alias(self, name: str, alias: str) -> None:
        """Take an alias away; its history stays."""
        self._transport.delete(f"{_path(name)}/aliases/{quote(alias, safe='')}")

    def download(
        self,
        name: str,
        version: int,
        format: str = "onnx",
        target: Path | None = None,
        on_bytes: OnBytes | None = None,
    ) -> Path:
        """Fetch one file of a version, resumable and checked by its digest; `target` is the file to write."""
        files = self.version(name, version)["files"] or {}
        if format not in files:
            have = ", ".join(files) or "no files yet"
            raise ClientError(f"model {name}:{version} has no {format!r}; it has {have}")
        target = target or Path(f"{name}-{version}{SUFFIXES.get(format, '.bin')}")
        path = f"{_path(name)}/versions/{version}/files/{quote(format, safe='')}"
        return download(self._transport, path, target, files[format]["sha256"], on_bytes)


def _path(name: str) -> str:
    return f"/v1/models/{quote(name, safe='')}"


def _pin(name: str, version: int, consumer: str) -> str:
    return f"{_path(name)}/versions/{version}/pins/{quote(consumer, safe='')}"
