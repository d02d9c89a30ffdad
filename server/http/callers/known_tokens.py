"""The tokens seen lately, kept on disk, so that the feature path knows them while the database is away.

Only hashes of secrets are kept (the secrets are long and random), in a file that nobody else can read.
"""

import json
import logging
import os
import secrets
import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from control.records.access.principals import Principal

log = logging.getLogger(__name__)

_MOST = 10_000
"""Tokens kept, as many as `auth` remembers; those seen longest ago go first."""


class KnownTokens:
    """Principals by the hash of their secret; safe to use from any thread.

    Nobody who asks waits for the disk: what is known and the file have locks of their own.
    """

    def __init__(self, path: Path | None) -> None:
        """Kept in `path`; None: in memory only, by a process that never needs them after a restart."""
        self._path = path
        self._lock = threading.Lock()
        self._known = OrderedDict[str, Principal]() if path is None else _read(path)
        self._writing = threading.Lock()
        self._unwritten = False
        """The file holds something else."""

    def get(self, digest: str) -> Principal | None:
        """Whom a secret of this hash stood for when the tables were last asked."""
        with self._lock:
            return self._known.get(digest)

    def seen(self) -> dict[str, Principal]:
        """Everyone known here, and to other processes that keep the same file."""
        if self._path is None:
            return self._now()
        with self._writing:
            kept = dict(_read(self._path))
        now = self._now()
        if kept != now:
            self._unwritten = True
        return kept | now

    def remember(self, digest: str, principal: Principal) -> None:
        """Keep what the tables said."""
        with self._lock:
            self._put(digest, principal)
            self._known.move_to_end(digest)
            self._trim()
        self._save()

    def forget(self, digest: str) -> None:
        """Drop a secret the tables no longer take."""
        with self._lock:
            self._drop(digest)
        self._save()

    def correct(self, seen: Iterable[str], now: Mapping[str, Principal]) -> None:
        """Of those `seen`, know as they are `now` those that are in it, and no longer the others."""
        with self._lock:
            for digest in seen:
                if digest in now:
                    self._put(digest, now[digest])
                else:
                    self._drop(digest)
            self._trim()
        self._save()

    def _now(self) -> dict[str, Principal]:
        with self._lock:
            return dict(self._known)

    def _put(self, digest: str, principal: Principal) -> None:
        if self._known.get(digest) != principal:
            self._unwritten = True
        self._known[digest] = principal

    def _drop(self, digest: str) -> None:
        if self._known.pop(digest, None) is not None:
            self._unwritten = True

    def _trim(self) -> None:
        while len(self._known) > _MOST:
            self._known.popitem(last=False)

    def _save(self) -> None:
        """Bring the file up to date, if it is not; one that cannot be written now is tried again at the next look."""
        if self._path is None or not self._unwritten:
            return
        with self._writing:
            # Who has waited here may find that another has written what it came for.
            if self._unwritten:
                self._unwritten = False
                if not _write(self._path, self._now()):
                    self._unwritten = True


def _write(path: Path, known: Mapping[str, Principal]) -> bool:
    """Whether it could be done."""
    document = {digest: _plain(principal) for digest, principal in known.items()}
    # Processes in containers of their own may have one number.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(json.dumps(document))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        log.warning(
            "known tokens cannot be kept in %s, and a restart in an outage would not know them: %s", path, error
        )
        return False
    return True


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
