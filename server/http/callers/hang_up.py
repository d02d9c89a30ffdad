"""Work for a caller that ends when the caller does."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from fastapi import Request
from starlette.requests import ClientDisconnect

T = TypeVar("T")


async def unless_gone(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Await the work, and cancel it when the caller hangs up, so that it costs no more. The body must be read.

    Raises:
        ClientDisconnect: the caller has hung up.
    """
    waiting = asyncio.current_task()
    assert waiting is not None  # noqa: S101 - a coroutine runs in one
    is_over = False

    def leave(gone: asyncio.Task[None]) -> None:
        # Told a moment after the work has ended, it must not cancel the sending of the answer.
        if not (is_over or gone.cancelled()):
            waiting.cancel()

    gone = asyncio.ensure_future(_hang_up(request))
    gone.add_done_callback(leave)
    try:
        # In this very task: one of its own would cost every request two more turns of the event loop.
        return await work
    except asyncio.CancelledError as error:
        if gone.done() and waiting.uncancel() == 0:
            raise ClientDisconnect from gone.exception() or error
        raise
    finally:
        is_over = True
        gone.cancel()


async def _hang_up(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
