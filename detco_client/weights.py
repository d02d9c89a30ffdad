"""Weights trained elsewhere: bring a file in, see what its check found."""

from collections.abc import Callable, Iterator
from typing import Any, cast
from urllib.parse import quote

from detco_client.resources.sources import Weights
from detco_client.transport import Transport
from detco_client.waiting import wait


class ForeignWeights:
    """`client.weights`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def add(
        self,
        uri: str,
        architecture: str,
        *,
        name: str | None = None,
        format: str | None = None,
        channels: int | None = None,
        license: str | None = None,
        strict: bool = True,
    ) -> Weights:
        """Register the file `uri` (an absolute path, `file://`, ...) as weights of `architecture`; a job checks it.

        `format` is recognised by the keys when it is None; images have 3 `channels` when that is None; `strict=False`
        takes a file that lacks keys.

        Raises:
            Refused: when the place is outside the allowed roots or no file is there.
        """
        body = {
            "uri": uri,
            "architecture": architecture,
            "name": name,
            "format": format,
            "channels": channels,
            "license": license,
            "strict": strict,
        }
        return cast(Weights, self._transport.create("/v1/weights", body))

    def get(self, id: str) -> Weights:
        """By id, or the newest of a name."""
        return cast(Weights, self._transport.get(_path(id)))

    def list(self) -> Iterator[Weights]:
        """All imported weights, newest first."""
        return self._transport.items("/v1/weights")

    def wait(
        self, id: str, timeout: float | None = None, on_change: Callable[[Weights], None] | None = None
    ) -> Weights:
        """The weights once they are checked; raises `JobFailed` when the file is not what it was said to be."""
        return wait(
            lambda: self.get(id), f"weights {id}", good={"ready"}, bad={"failed"}, timeout=timeout, on_change=on_change
        )

    def delete(self, id: str, *, dry_run: bool = False) -> Any:
        """Delete them; answers what was made from them and the bytes freed.

        Raises:
            Conflict: while jobs that have not ended need them.
        """
        return self._transport.delete(_path(id), {"dry_run": True} if dry_run else None)


def _path(id: str) -> str:
    return f"/v1/weights/{quote(id, safe='')}"
