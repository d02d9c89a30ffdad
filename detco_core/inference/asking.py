"""Asks a service over HTTP, with the standard library alone: the one place of the core that does.

A detector that wants the service's weights must not have to install its client.
"""

import hashlib
import http.client
import json
import os
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from detco_core.contract.errors import BundleError

TOKEN = "DETCO_TOKEN"  # noqa: S105 - the name of a variable
_SECONDS = 60.0
"""Of silence, after which a connection counts as broken."""
_PIECE = 2**20
_AWAY = {502, 503, 504}
"""What a proxy says of a service that is gone."""


class ServiceAway(BundleError):
    """The service could not be asked, or broke off."""


class _SameHost(urllib.request.HTTPRedirectHandler):
    """Takes the token nowhere else, and over no line that others can read where it was to be encrypted."""

    def redirect_request(self, req: Any, fp: Any, code: Any, msg: Any, headers: Any, newurl: str) -> Any:
        there, here = urllib.parse.urlsplit(newurl), urllib.parse.urlsplit(req.full_url)
        downgraded = here.scheme == "https" and there.scheme != "https"
        if there.hostname != here.hostname or downgraded:
            raise BundleError(f"{req.full_url} leads to {newurl}: if that is the service, name it")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class Service:
    """One service and a caller's token.

    Raises:
        BundleError: `url` is no address of one.
    """

    def __init__(self, url: str, token: str) -> None:
        if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
            raise BundleError(f"{url} is no http:// or https:// address of a service")
        self.url = url
        token = token.strip()  # as read from a file
        self._has_token = bool(token)
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._opener = urllib.request.build_opener(_SameHost)

    def open(self, path: str) -> Any:
        """An open response; raises `BundleError` with what the service says."""
        try:
            request = urllib.request.Request(self.url + path, headers=self._headers)  # noqa: S310 - the scheme is checked
            return self._opener.open(request, timeout=_SECONDS)
        except urllib.error.HTTPError as error:
            with error:
                kind = ServiceAway if error.code in _AWAY else BundleError
                raise kind(f"{self.url}{path}: {error.code} {_said(error.read(4096))}{self._hint(error)}") from error
        except (OSError, http.client.HTTPException) as error:
            raise ServiceAway(f"{self.url} does not answer: {error}") from error
        except ValueError as error:  # which may hold the token
            raise BundleError(f"{self.url}, or the token given for it, cannot be sent as one") from error

    def read(self, path: str) -> bytes:
        """What is at `path`; raises as `open`."""
        try:
            with self.open(path) as response:
                content: bytes = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise ServiceAway(f"{self.url}{path} broke off: {error}") from error
        return content

    def save(self, path: str, target: Path) -> tuple[str, int]:
        """Write what is at `path` to a file; its digest and bytes.

        Raises:
            BundleError: the file cannot be written; also as `open`.
        """
        digest, size = hashlib.sha256(), 0
        try:
            with self.open(path) as response, target.open("wb") as file:
                while piece := self._piece(response, path):
                    digest.update(piece)
                    size += file.write(piece)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise BundleError(f"{target} cannot be written: {error.strerror}") from error
        return "sha256:" + digest.hexdigest(), size

    def _piece(self, response: Any, path: str) -> bytes:
        try:
            piece: bytes = response.read(_PIECE)
        except (OSError, http.client.HTTPException) as error:
            raise ServiceAway(f"{self.url}{path} broke off: {error}") from error
        return piece

    def _hint(self, error: urllib.error.HTTPError) -> str:
        return f": give token, or set {TOKEN}" if error.code == 401 and not self._has_token else ""


def _said(body: bytes) -> str:
    """The detail of a problem document, else the beginning of what came."""
    try:
        return str(json.loads(body)["detail"])
    except (ValueError, TypeError, KeyError):
        return body[:200].decode("utf-8", "replace")
