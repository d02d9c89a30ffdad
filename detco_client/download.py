"""Brings a file of the service onto this disk: resumed where it broke off, checked by its digest, renamed at last."""

import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path

import httpx

from detco_client.errors import ApiError, BadReply, CannotConnect, ClientError, DigestMismatch
from detco_client.transport import PAUSES, Transport

SILENCE_SECONDS = 60.0

OnBytes = Callable[[int, int | None], None]
"""Called with the bytes on disk and the bytes there will be, where the service says so."""


def download(
    transport: Transport, path: str, target: Path, sha256: str | None = None, on_bytes: OnBytes | None = None
) -> Path:
    """Write the file at `path` to `target`, through `target.part`.

    A part left by an earlier try is continued by a Range request. `sha256` is `sha256:` and hex digits, with or without
    the prefix; None trusts the connection.

    Raises:
        DigestMismatch: when the whole file has another digest; it is removed.
        CannotConnect: when the connection keeps failing; the part stays for the next try.
    """
    part = target.with_name(target.name + ".part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        resumed = _size(part) > 0
        _fetch_all(transport, path, part, sha256, on_bytes)
        if not (resumed and _differs(part, sha256)):
            return _keep(part, target, sha256)
        # The part was of another file; this time from the first byte.
        part.unlink()
        _fetch_all(transport, path, part, sha256, on_bytes)
        return _keep(part, target, sha256)
    except OSError as error:
        raise ClientError(f"cannot write {target}: {error.strerror or error}") from error


def _fetch_all(transport: Transport, path: str, part: Path, sha256: str | None, on_bytes: OnBytes | None) -> None:
    tries = iter(PAUSES)
    while True:
        before = _size(part)
        try:
            return _fetch(transport, path, part, sha256, on_bytes)
        except httpx.TransportError as error:
            if _size(part) > before:
                tries = iter(PAUSES)
            pause = next(tries, None)
            if pause is None:
                raise CannotConnect(transport.url, str(error) or type(error).__name__) from error
            time.sleep(pause)
        except ApiError as error:
            if error.status != 416 or not before:
                raise
            # The part is not the beginning of this file: begin again.
            part.unlink()


def _fetch(transport: Transport, path: str, part: Path, sha256: str | None, on_bytes: OnBytes | None) -> None:
    have = _size(part)
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
        if sha256 is not None:  # the rest of this very file, or all of it
            headers["If-Range"] = f'"{_prefixed(sha256)}"'
    with transport.stream(path, headers, SILENCE_SECONDS) as response:
        resumed = response.status_code == 206
        if resumed and _range_start(response) != have:
            raise BadReply(f"{path} answered another range than the one asked for")
        length = response.headers.get("Content-Length")
        have = have if resumed else 0
        total = have + int(length) if length else None
        with part.open("ab" if resumed else "wb") as file:
            # As it comes: a chunk size would hold bytes back, and lose them when the connection breaks.
            for chunk in response.iter_raw():
                file.write(chunk)
                have += len(chunk)
                if on_bytes:
                    on_bytes(have, total)
            file.flush()
            os.fsync(file.fileno())


def _range_start(response: httpx.Response) -> int:
    words = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")
    return int(words[0]) if words[0].isdecimal() else -1


def _keep(part: Path, target: Path, sha256: str | None) -> Path:
    if found := _differs(part, sha256):
        part.unlink()
        raise DigestMismatch(target.name, _prefixed(sha256 or ""), found)
    return part.replace(target)


def _differs(part: Path, sha256: str | None) -> str:
    """The digest of the part when it is not the expected one, else the empty string."""
    if sha256 is None:
        return ""
    with part.open("rb") as file:
        found = "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()
    return "" if found == _prefixed(sha256) else found


def _prefixed(sha256: str) -> str:
    return "sha256:" + sha256.removeprefix("sha256:").lower()


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0
