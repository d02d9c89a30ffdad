"""Data sets: register a folder, see what the scan found."""

from collections.abc import Callable, Iterator
from typing import cast
from urllib.parse import quote

from detco_client.resources import Dataset
from detco_client.transport import Transport
from detco_client.waiting import wait


class Datasets:
    """`client.datasets`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def add(self, name: str, uri: str, *, kind: str = "images", license: str | None = None) -> Dataset:
        """Register `uri` (an absolute path, `file://`, ...) as version 1 of `name`; a job scans it.

        Raises:
            Refused: when the place is outside the allowed roots or its layout is not that of the kind.
            Conflict: when the name is taken.
        """
        body = {"name": name, "uri": uri, "kind": kind, "license": license}
        sent = {key: value for key, value in body.items() if value is not None}
        return cast(Dataset, self._transport.post("/v1/datasets", sent))

    def rescan(self, name: str, exclude: tuple[str, ...] = ()) -> Dataset:
        """Make a new version from what the place holds now, without what the glob patterns in `exclude` match."""
        return cast(Dataset, self._transport.post(f"{_path(name)}/versions", {"exclude": list(exclude)}))

    def get(self, name: str, version: int | None = None) -> Dataset:
        """A version of a data set; None: the newest."""
        path = _path(name) if version is None else f"{_path(name)}/versions/{version}"
        return cast(Dataset, self._transport.get(path))

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
