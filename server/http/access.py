"""The access log: one line of JSON for every request, with what its route has noted about it.

Routes add to the line by `note`; secrets never reach it: it names tokens by their id.
"""

import json
import logging
import sys
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from logging.handlers import WatchedFileHandler
from typing import Any

from starlette.types import Scope

from control.errors import SettingsError
from control.log import redact
from server.features.schemas import FeatureReply

log = logging.getLogger(__name__)

_LONGEST = 200
"""Characters kept of what a client chose."""


class AccessLog:
    """Where the lines go; `close` at the end."""

    def __init__(self, handler: logging.Handler | None = None) -> None:
        """Without a handler nothing is written."""
        self._handler = handler
        self._losing = self._lost = False
        if handler is not None:
            handler.handleError = self._lose  # type: ignore[method-assign]  # logging has no other way to be told

    def write(self, facts: Mapping[str, Any]) -> None:
        """One line, dated now; what is None is left out."""
        if self._handler is None:
            return
        time = datetime.now(UTC).isoformat(timespec="milliseconds")
        kept = {name: value for name, value in facts.items() if value is not None}
        line = json.dumps({"time": time, **kept}, separators=(",", ":"), default=str)
        before, self._lost = self._losing, False
        record = logging.makeLogRecord({"msg": redact(line)})
        try:
            self._handler.handle(record)
        except OSError:  # a file that was moved away cannot be begun anew
            self._lose(record)
        if before and not self._lost:
            log.warning("the access log can be written again")
        self._losing = self._lost

    def _lose(self, record: logging.LogRecord) -> None:
        """A line cannot be written: no request fails for that, and the log says when it begins and ends."""
        self._lost = True
        if not self._losing:
            log.error("the access log cannot be written, lines of it are lost: %s", sys.exc_info()[1])

    def close(self) -> None:
        if self._handler is not None:
            with suppress(OSError):  # what was lost has been said
                self._handler.close()


def open_access_log(where: str | None) -> AccessLog:
    """`-` is stderr, else a file that is appended to, and opened anew when something has moved it away; None: nowhere.

    Raises:
        SettingsError: the file cannot be written.
    """
    if where is None:
        return AccessLog()
    if where == "-":
        return AccessLog(logging.StreamHandler(sys.stderr))
    try:
        return AccessLog(WatchedFileHandler(where, encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"DETCO_ACCESS_LOG names a file that cannot be written: {error}") from error


def note(scope: Scope, **facts: Any) -> None:
    """Say something about a request, for its line in the access log and its span."""
    notes(scope).update(facts)


def notes(scope: Scope) -> dict[str, Any]:
    """What was said about a request."""
    found: dict[str, Any] = scope.setdefault("state", {}).setdefault("notes", {})
    return found


def note_reply(scope: Scope, reply: FeatureReply) -> None:
    """Say which model has answered, and what took how long."""
    note(scope, model=reply.model.model, version=reply.model.version, provider=reply.model.provider)
    scope["state"]["moments"] = [(image.index, *moment) for image in reply.images for moment in image.timings.moments]


def shortened(text: str) -> str:
    """What a client chose, of a length for a log."""
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
