"""Data sets: register a folder, see what the scan found."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast
from urllib.parse import quote

from detco_client.resources.sources import Dataset, DatasetVersion
from detco_client.transport import Transport
from detco_client.waiting import wait


class Datasets:
    """`client.datasets`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def add(
        self,
        name: str,
        uri: str,
        *,
        kind: str = "images",
        license: str | None = None,
        splits: Mapping[str, str] | None = None,
        exclude: tuple[str, ...] = (),
    ) -> Dataset:
        """Register `uri` (an absolute path, `file://`, `upload:ID`) as version 1 of `name`; a job scans it.

        `splits` names the folder of each split, where the kind's own layout does not say it; `exclude` holds glob
        patterns of relative paths to leave out.

        Raises:
            Refused: when the place is outside the allowed roots or its layout is not that of the kind.
            Conflict: when the name is taken.
        """
        body: dict[str, object] = {"name": name, "uri": uri, "kind": kind, "license": license, "splits": splits or None}
        body["exclude"] = list(exclude) or None
        return cast(Dataset, self._transport.create("/v1/datasets", body))

    def rescan(self, name: str, exclude: tuple[str, ...] = ()) -> DatasetVersion:
        """Make a new version from what the place holds now, without what the glob patterns in `exclude` match."""
        return cast(DatasetVersion, self._transport.create(f"{_path(name)}/versions", {"exclude": list(exclude)}))

    def get(self, name: str) -> Dataset:
        """The data set as its newest version is."""
        return cast(Dataset, self._transport.get(_path(name)))

    def version(self, name: str, version: int) -> DatasetVersion:
        return cast(DatasetVersion, self._transport.get(f"{_path(name)}/versions/{version}"))

    def usage(self, name: str) -> Any:
        """What uses it: `runs`, `evaluations`, `extractions`, `models`, their `counts`, and the `bytes` kept of it."""
        return self._transport.get(f"{_path(name)}/usage")

    def delete(self, name: str, version: int | None = None, *, dry_run: bool = False) -> Any:
        """Delete it, or one version: answers what was made from it and stays, and the bytes freed.

        Files that lie where it was registered are never touched. Raises `Conflict` while jobs need it.
        """
        path = _path(name) if version is None else f"{_path(name)}/versions/{version}"
        return self._transport.delete(path, {"dry_run": True} if dry_run else None)

    def wait(
        self, name: str, timeout: float | None = None, on_change: Callable[[Dataset], None] | None = None
    ) -> Dataset:
        """The data set once its scan is done; raises `JobFailed` when nothing in it can be read."""
        return wait(
            lambda: self.get(name),
            f"data set {name}",
            good={"ready"},
            bad={"failed"},
            timeout=timeout,
            on_change=on_change,
        )

    def list(self) -> Iterator[Dataset]:
        """Every data set, newest first."""
        return self._transport.items("/v1/datasets")


def _path(name: str) -> str:
    return f"/v1/datasets/{quote(name, safe='')}"
