"""Server-sent events of a job: first what is there behind the last id seen, then what comes.

A stream lives for a bounded time. Only the event `end` means that the job is over; a connection that just closes means
"come back with Last-Event-ID".
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Annotated, Any

import anyio
from fastapi import Header
from fastapi.concurrency import run_in_threadpool
from sse_starlette import EventSourceResponse, ServerSentEvent

from control.bus import Watch, run_topic
from control.db.models import Run
from control.records.access.principals import Principal
from control.records.journal.history import list_events
from control.records.runs.runs import get_run
from control.states import TERMINAL
from server.http.deps import Services

LIFETIME_SECONDS = 600.0
HEARTBEAT_SECONDS = 15
RECONNECT_MILLISECONDS = 1000
BATCH = 500
"""Events read at once."""
_PAUSE_SECONDS = 0.25
"""Between two questions to the bus, which cost nothing."""
_LOOK_SECONDS = 5.0
"""A look at the tables is made this often even when nothing was announced."""
_LEAVING_SECONDS = 2.0
"""A stream may take this long to end by itself when the service does."""

LastEventId = Annotated[int | None, Header(alias="Last-Event-ID", ge=0, lt=2**63)]
"""Where a broken stream is taken up again."""


@dataclass(frozen=True, slots=True)
class Message:
    """One event of a stream; ids grow along it."""

    id: int
    type: str
    data: dict[str, Any]

    def sent(self) -> ServerSentEvent:
        return ServerSentEvent(json.dumps(self.data), event=self.type, id=str(self.id), retry=RECONNECT_MILLISECONDS)


@dataclass(frozen=True, slots=True)
class News:
    """What a look behind a position found."""

    messages: list[Message]
    position: int
    """To look behind the next time."""
    more: bool
    """There is more already: look again at once."""
    ended: dict[str, Any] | None
    """The job's last state and reason, once nothing more will come."""


Look = Callable[[int], News]
"""Looks behind a position; blocks."""


@dataclass(frozen=True, slots=True)
class Attention:
    """What a stream listens to while it waits."""

    watch: Watch
    leaving: anyio.Event
    """Set when the service is about to end."""

    async def news(self) -> None:
        """Return when there may be news, or the service leaves; holds no thread meanwhile."""
        latest = time.monotonic() + _LOOK_SECONDS
        await asyncio.sleep(_PAUSE_SECONDS)
        while not self.watch.moved() and not self.leaving.is_set() and time.monotonic() < latest:
            await asyncio.sleep(_PAUSE_SECONDS)


def follow(services: Services, who: Principal, run_id: str, look: Look, after: int) -> EventSourceResponse:
    """The news of a job behind `after` as a stream; raises `Problem` (429) when the token has too many open."""
    services.streams.check(who)
    leaving = anyio.Event()
    attention = Attention(services.bus.watch(run_topic(run_id)), leaving)
    return EventSourceResponse(
        _told(services, who, look, after, attention),
        ping=HEARTBEAT_SECONDS,
        sep="\n",
        shutdown_event=leaving,
        shutdown_grace_period=_LEAVING_SECONDS,
    )


async def _told(
    services: Services, who: Principal, look: Look, position: int, attention: Attention
) -> AsyncIterator[ServerSentEvent]:
    deadline = time.monotonic() + LIFETIME_SECONDS
    yield ServerSentEvent(comment="follows")
    with services.streams.enter(who), services.telemetry.stream():
        while time.monotonic() < deadline and not attention.leaving.is_set():
            news = await run_in_threadpool(look, position)
            position = news.position
            for message in news.messages:
                yield message.sent()
            if news.ended is not None:
                yield Message(position, "end", news.ended).sent()
                return
            if not news.more:
                await attention.news()


def ended(run: Run) -> dict[str, Any]:
    """The data of the event `end`."""
    return {"state": run.state, "reason": run.reason}


def look_at_events(services: Services, run_id: str, types: tuple[str, ...] = ()) -> Look:
    """Looks at the events of a job, of these types or all; positions are event ids."""

    def look(position: int) -> News:
        with services.look() as session:
            # The state first: what is terminal now has all of its events in the table.
            run = get_run(session, run_id)
            rows = list_events(session, run_id, position, BATCH, types)
        messages = [Message(row.id, row.type, {**row.payload, "time": row.time.isoformat()}) for row in rows]
        over = run.state in TERMINAL and len(rows) < BATCH
        return News(messages, rows[-1].id if rows else position, len(rows) == BATCH, ended(run) if over else None)

    return look
