"""Uploads: bring a file or folder to a service that shares no disk, taking up again what broke off."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

import httpx

from detco_client.errors import Conflict
from detco_client.packing import Parcel, pack
from detco_client.resources.sources import Upload
from detco_client.transport import Transport, body_of

PART = 8 << 20
"""Bytes of one request: what a broken connection costs at most."""
CHECKING = httpx.Timeout(3600.0, connect=10.0)
"""With the last part the service looks through everything."""
OnBytes = Callable[[int, int], None]
"""Called with the bytes that are there and the bytes there will be."""


class Uploads:
    """`client.uploads`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def send(self, path: Path, kind: str | None = None, on_bytes: OnBytes | None = None) -> Upload:
        """Send a file, or a folder as a tar; its `uri` is then taken where data sets and weights are named.

        `kind` is `dataset`, `weights` or `bundle`; None: a data set for a folder, tar or zip, else weights. The same
        bytes sent before are found again: what is there already is not sent twice.

        Raises:
            Refused: too large, or not what such an upload may hold.
            CannotConnect: send it again to go on.
        """
        parcel = pack(path)
        kind = kind or ("dataset" if _is_archive(path) else "weights")
        upload = self._begun(parcel, kind) or self._announce(parcel, kind)
        while upload["state"] == "receiving":
            try:
                upload = self._send_rest(upload, parcel, on_bytes or (lambda there, total: None))
            except Conflict as error:
                if error.code != "other_offset":
                    raise
                upload = self.get(upload["id"])
        return upload

    def get(self, id: str) -> Upload:
        """How far an upload is."""
        return cast(Upload, self._transport.get(_path(id)))

    def list(self) -> Iterator[Upload]:
        """Every upload, newest first."""
        return self._transport.items("/v1/uploads")

    def delete(self, id: str, *, dry_run: bool = False) -> Any:
        """Delete one; raises `Conflict` while data sets or an import need it."""
        return self._transport.delete(_path(id), {"dry_run": True} if dry_run else None)

    def _begun(self, parcel: Parcel, kind: str) -> Upload | None:
        found = self._transport.items("/v1/uploads", {"sha256": parcel.sha256})
        usable = (item for item in found if item["kind"] == kind and item["state"] != "failed")
        return next(usable, None)

    def _announce(self, parcel: Parcel, kind: str) -> Upload:
        body = {"kind": kind, "bytes": parcel.bytes, "sha256": parcel.sha256}
        return cast(Upload, self._transport.create("/v1/uploads", body))

    def _send_rest(self, upload: Upload, parcel: Parcel, on_bytes: OnBytes) -> Upload:
        start = upload["received"]
        for part in _parts(parcel.chunks(start)):
            span = f"bytes {start}-{start + len(part) - 1}/{parcel.bytes}"
            upload = self._put(upload["id"], part, span)
            start += len(part)
            on_bytes(upload["received"], parcel.bytes)
        if start == parcel.bytes and upload["state"] == "receiving":
            upload = self._put(upload["id"], b"", f"bytes */{parcel.bytes}")
        return upload

    def _put(self, id: str, part: bytes, span: str) -> Upload:
        headers = {"Content-Range": span, "Content-Type": "application/octet-stream"}
        answer = self._transport.send("PUT", _path(id), content=part, headers=headers, timeout=CHECKING)
        return cast(Upload, body_of(answer))


def _parts(chunks: Iterator[bytes]) -> Iterator[bytes]:
    gathered = bytearray()
    for chunk in chunks:
        gathered += chunk
        while len(gathered) >= PART:
            yield bytes(gathered[:PART])
            del gathered[:PART]
    if gathered:
        yield bytes(gathered)


def _is_archive(path: Path) -> bool:
    return path.is_dir() or path.name.lower().endswith((".tar", ".zip", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz"))


def _path(id: str) -> str:
    return f"/v1/uploads/{quote(id, safe='')}"
