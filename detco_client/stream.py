"""Follows a stream of server-sent events to its end, however often the connection drops.

Only the event named `end` is the end. A connection that closes, fails or falls silent is taken up again after the last
event seen (`Last-Event-ID`), so nothing is missed and nothing comes twice.
"""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
from httpx_sse import EventSource, SSEError

from detco_client.errors import BadReply, CannotConnect, ServiceFailed
from detco_client.transport import Transport

SILENCE_SECONDS = 45.0
"""The service sends a heartbeat every 15 s; three missed ones mean that the connection is gone."""
PATIENCE_SECONDS = 120.0
"""How long a service may be away (an upgrade, a restart) before we give up."""
PAUSE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """One event of a stream."""

    id: int
    """Grows along the stream; where to take it up again."""
    type: str
    """`progress`, `metrics`, `state`, ..., and at last `end`."""
    data: dict[str, Any]


def follow(transport: Transport, path: str, after: int = -1) -> Iterator[StreamEvent]:
    """Every event of the stream at `path` behind the event `after` (-1: all); the last one is of type `end`.

    Raises:
        CannotConnect: when the service is away for longer than `PATIENCE_SECONDS`.
        ApiError: when it refuses the stream.
        BadReply: when what it sends is not a stream of events.
    """
    last, seen_at = after, time.monotonic()
    while True:
        cause = "the stream ended early"
        try:
            for event in _read(transport, path, last):
                last, seen_at = max(last, event.id), time.monotonic()
                yield event
                if event.type == "end":
                    return
        except (httpx.TransportError, ServiceFailed) as error:
            cause = str(error) or type(error).__name__
        if time.monotonic() - seen_at > PATIENCE_SECONDS:
            raise CannotConnect(transport.url, cause)
        time.sleep(PAUSE_SECONDS)


def _read(transport: Transport, path: str, last: int) -> Iterator[StreamEvent]:
    """The events of one connection that come behind `last`."""
    headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
    if last >= 0:
        headers["Last-Event-ID"] = str(last)
    with transport.stream(path, headers, SILENCE_SECONDS) as response:
        try:
            for sse in EventSource(response).iter_sse():
                event = StreamEvent(_number(sse.id), sse.event, _object(sse.data))
                if event.id > last or event.type == "end" or not sse.id:
                    yield event
        except SSEError as error:
            raise BadReply(f"{path} is not a stream of events: {error}") from error


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() else 0


def _object(text: str) -> dict[str, Any]:
    try:
        data = json.loads(text) if text else {}
    except ValueError as error:
        raise BadReply(f"an event of the stream is not JSON: {text[:80]!r}") from error
    return data if isinstance(data, dict) else {"value": data}
