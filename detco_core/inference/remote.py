"""Brings a promoted backbone from a service into a folder of this machine, to be run in-process.

The one place of the core that speaks HTTP, with the standard library alone: a detector that wants the service's weights
must not have to install its client. Nothing else of the core knows the service.
"""

import hashlib
import http.client
import json
import os
import shutil
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from detco_core.contract.errors import BundleError
from detco_core.contract.manifest import MANIFEST_FILE, Manifest, read_manifest

DEFAULT_ALIAS = "production"
_SECONDS = 60.0
"""Of silence, after which a connection counts as broken."""
_PIECE = 2**20
_CACHE = "DETCO_CACHE"
_TOKEN = "DETCO_TOKEN"  # noqa: S105 - the name of a variable


def fetch_bundle(
    url: str,
    model: str,
    token: str | None = None,
    expect_digest: str | None = None,
    folder: Path | None = None,
) -> Path:
    """The bundle folder of a model of the service at `url`, with what in-process inference needs; from `folder` when it
    was fetched before.

    Args:
        url: of the service, e.g. `http://host:8000`.
        model: `name@alias`, `name:version`, or `name` for its alias `production`.
        token: with the scope `read`; None: the environment's DETCO_TOKEN.
        expect_digest: weights digest relied on.
        folder: where bundles are kept by digest; None: DETCO_CACHE, else `~/.cache/detco`.

    Raises:
        BundleError: the service cannot be asked, has no such model, or other weights than expected; or a file did not
            come as the manifest says.
    """
    service = _Service(url.rstrip("/"), token or os.environ.get(_TOKEN, ""))
    name, number = _version(service, model)
    base = f"/v1/models/{urllib.parse.quote(name, safe='')}/versions/{number}/files"
    manifest_text = service.read(f"{base}/manifest")
    digest = hashlib.sha256(manifest_text).hexdigest()
    kept = (folder or Path(os.environ.get(_CACHE, Path.home() / ".cache" / "detco"))) / "bundles" / digest
    if not (kept / MANIFEST_FILE).is_file():
        _bring(service, base, manifest_text, kept)
    _expect(read_manifest(kept), expect_digest, f"{name}:{number}")
    return kept


class _Service:
    def __init__(self, url: str, token: str) -> None:
        if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
            raise BundleError(f"{url} is no http:// or https:// address of a service")
        self.url = url
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    def open(self, path: str) -> Any:
        """An open response; raises `BundleError` with what the service says."""
        request = urllib.request.Request(self.url + path, headers=self._headers)  # noqa: S310 - the scheme is checked
        try:
            return urllib.request.urlopen(request, timeout=_SECONDS)  # noqa: S310 - as above
        except urllib.error.HTTPError as error:
            with error:
                raise BundleError(f"{self.url}{path}: {error.code} {_said(error.read(4096))}") from error
        except (OSError, http.client.HTTPException) as error:
            raise BundleError(f"{self.url} does not answer: {error}") from error

    def read(self, path: str) -> bytes:
        with self.open(path) as response:
            content: bytes = response.read()
        return content


def _version(service: _Service, model: str) -> tuple[str, int]:
    """Name and number of what a person names."""
    name, colon, number = model.partition(":")
    if colon:
        if not (number.isascii() and number.isdigit()):
            raise BundleError(f"{model!r} names no version: a version is a number, as in name:3; an alias name@alias")
        return name, int(number)
    name, _, alias = model.partition("@")
    quoted, alias = urllib.parse.quote(name, safe=""), urllib.parse.quote(alias or DEFAULT_ALIAS, safe="")
    return name, int(json.loads(service.read(f"/v1/models/{quoted}/aliases/{alias}"))["version"])


def _bring(service: _Service, base: str, manifest_text: bytes, kept: Path) -> None:
    """Fetch beside `kept`, check, and rename into place: another process never sees half a bundle."""
    kept.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=".fetching-", dir=kept.parent))
    try:
        (draft / MANIFEST_FILE).write_bytes(manifest_text)
        file = read_manifest(draft).files["onnx"]
        target = draft / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        found = _save(service, f"{base}/onnx", target)
        if found != file.sha256:
            raise BundleError(f"{service.url}{base}/onnx came as {found}; the manifest says {file.sha256}: try again")
        try:
            draft.rename(kept)
        except OSError:
            # Another process was first; what it brought is the same.
            if not (kept / MANIFEST_FILE).is_file():
                raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _save(service: _Service, path: str, target: Path) -> str:
    """Write what is at `path` to `target`; its digest."""
    digest = hashlib.sha256()
    try:
        with service.open(path) as response, target.open("wb") as file:
            while piece := response.read(_PIECE):
                digest.update(piece)
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
    except (OSError, http.client.HTTPException) as error:
        raise BundleError(f"{service.url}{path} broke off: {error}") from error
    return "sha256:" + digest.hexdigest()


def _expect(manifest: Manifest, digest: str | None, model: str) -> None:
    if digest is not None and digest != manifest.weights_digest:
        raise BundleError(f"{model} has the weights {manifest.weights_digest}, expected were {digest}")


def _said(body: bytes) -> str:
    """The detail of a problem document, else the beginning of what came."""
    try:
        return str(json.loads(body)["detail"])
    except (ValueError, TypeError, KeyError):
        return body[:200].decode("utf-8", "replace")
