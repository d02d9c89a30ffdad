"""The tokens seen lately, kept on disk, so that the feature path knows them while the database is away.

Only hashes of secrets are kept (the secrets are long and random), in a file that nobody else can read.
"""

import json
import logging
import os
import threading
from collections import OrderedDict
from datetime import datetime
from pathlib import Path
from typing import Any

from control.records.access.principals import Principal

log = logging.getLogger(__name__)

_MOST = 1000
"""Tokens kept; those seen longest ago go first."""


class KnownTokens:
    """Principals by the hash of their secret, in `path`; safe to use from any thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._known: OrderedDict[str, Principal] | None = None

    def get(self, digest: str) -> Principal | None:
        """Whom a secret of this hash stood for when the tables were last asked."""
        with self._lock:
            return self._loaded().get(digest)

    def remember(self, digest: str, principal: Principal) -> None:
        """Keep what the tables said."""
        with self._lock:
            known = self._loaded()
            changed = known.get(digest) != principal
            known[digest] = principal
            known.move_to_end(digest)
            while len(known) > _MOST:
                known.popitem(last=False)
            if changed:
                self._write(known)

    def forget(self, digest: str) -> None:
        """Drop a secret the tables no longer take."""
        with self._lock:
            if self._loaded().pop(digest, None) is not None:
                self._write(self._loaded())

    def _loaded(self) -> OrderedDict[str, Principal]:
        if self._known is None:
            self._known = _read(self._path)
        return self._known

    def _write(self, known: OrderedDict[str, Principal]) -> None:
        document = {digest: _plain(principal) for digest, principal in known.items()}
        temporary = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
                json.dump(document, file)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self._path)
        except OSError as error:
            log.warning("known tokens cannot be kept in %s: %s", self._path, error)


def _read(path: Path) -> OrderedDict[str, Principal]:
    try:
        document = json.loads(path.read_text("utf-8"))
        return OrderedDict((digest, _principal(entry)) for digest, entry in document.items())
    except FileNotFoundError:
        pass
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        log.warning("known tokens in %s cannot be read and are forgotten: %s", path, error)
    return OrderedDict()


def _plain(principal: Principal) -> dict[str, Any]:
    return {
        "token_id": principal.token_id,
        "name": principal.name,
        "scopes": sorted(principal.scopes),
        "models": None if principal.models is None else sorted(principal.models),
        "expires_at": None if principal.expires_at is None else principal.expires_at.isoformat(),
        "images": principal.images,
        "pixels_per_second": principal.pixels_per_second,
    }


def _principal(entry: dict[str, Any]) -> Principal:
    return Principal(
        token_id=entry["token_id"],
        name=entry["name"],
        scopes=frozenset(entry["scopes"]),
        models=None if entry["models"] is None else frozenset(entry["models"]),
        expires_at=None if entry["expires_at"] is None else datetime.fromisoformat(entry["expires_at"]),
        # Files of earlier versions have no bounds.
        images=entry.get("images"),
        pixels_per_second=entry.get("pixels_per_second"),
    )
